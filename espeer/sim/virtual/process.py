"""A simulation in a process of its own, so that its memory can be told and is given back, and how far it is."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import trio

from espeer.sim.fleet import FleetError
from espeer.sim.virtual.plan import Plan

_MOST_SAID: Final = 1_000_000


async def simulated(plan: Plan, *, profile: Mapping[str, Any] | None, tick: Callable[[], None]) -> dict[str, Any]:
    """Simulate a fleet.

    :param profile: what its models cost, in JSON; None for what the default model does.
    :param tick: called after each simulated minute of the plan's.
    :raises FleetError: it failed; why stands on standard error.
    """
    given = json.dumps({"plan": plan.as_json(), "profile": profile}).encode()
    command = [sys.executable, "-m", "espeer.sim.virtual"]
    run = partial(trio.run_process, command, stdin=given, stdout=subprocess.PIPE, check=False)
    said, ticks = b"", 0
    async with trio.open_nursery() as nursery:  # a child that nobody waits for any more is ended
        process: trio.Process = await nursery.start(run)
        if process.stdout is None:
            raise AssertionError("its standard output is a pipe")
        async for chunk in process.stdout:
            said = (said + chunk)[-_MOST_SAID:]
            minutes = min(round(plan.minutes), ticks + chunk.count(b"\n"))  # there may be more until all hold the same
            for _ in range(ticks, minutes):
                tick()
            ticks = minutes
    try:
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise FleetError(f"a simulation of {plan.nodes} nodes ended with code {process.returncode}") from error
    return found
