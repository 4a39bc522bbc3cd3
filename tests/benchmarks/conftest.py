"""The benchmarks are not installed: they are found where they lie."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
