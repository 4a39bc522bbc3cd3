"""Runs the Python examples of these pages: what they print is what they say."""

import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def _own_folder(namespace: dict[str, Any]) -> None:
    namespace["_kept"] = tempfile.TemporaryDirectory()
    namespace["folder"] = Path(namespace["_kept"].name) / "node"


def _tidy(namespace: dict[str, Any]) -> None:
    namespace["_kept"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()], patterns=["*.md"], setup=_own_folder, teardown=_tidy
).pytest()
