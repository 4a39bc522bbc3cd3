"""One simulation in a process of its own: its plan comes as JSON on standard input, the last line out is what it came to.

Each line before that is the simulated seconds that have passed.
"""

import json
import logging
import sys
from pathlib import Path

from espeer import log
from espeer.sim.virtual import plan, profile
from espeer.sim.virtual.run import simulate


def main() -> None:
    """Read, run, write."""
    log.configure(logging.ERROR)
    wanted = plan.read(json.load(sys.stdin))
    costs = profile.parse(Path(wanted.profile).read_text(encoding="utf-8")) if wanted.profile else profile.shipped()
    found = simulate(wanted, costs, tell=lambda seconds: print(round(seconds), flush=True))  # noqa: T201 - what it is for
    print(json.dumps(found), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
