"""One simulation: its plan and profile come as JSON on standard input, what it came to goes out as the last line.

Each line before that is the simulated seconds that have passed.
"""

import json
import logging
import sys

from espeer import log
from espeer.sim.virtual import plan, profile
from espeer.sim.virtual.run import simulate


def main() -> None:
    """Read, run, write."""
    log.configure(logging.ERROR)
    given = json.load(sys.stdin)
    costs = profile.shipped() if given["profile"] is None else profile.read(given["profile"])
    found = simulate(plan.read(given["plan"]), costs, tell=lambda seconds: print(round(seconds), flush=True))  # noqa: T201 - what it is for
    print(json.dumps(found), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
