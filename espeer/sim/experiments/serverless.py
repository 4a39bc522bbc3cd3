"""Serverless or server: the paper's open question, the same trace put through peers and through a server with clients.

Each deployment at each delay with each seed is a piece of work: a fleet of processes of its own, one after the other, for the
machine must not be what is measured.
"""

from functools import partial
from typing import Final, cast, get_args

from espeer.demo import incidents
from espeer.errors import InputError
from espeer.sim.experiments import serverless_report, serverless_trace
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.serverless_drive import fail, measure
from espeer.sim.experiments.serverless_found import Failed, Kind, Measured, Piece
from espeer.sim.experiments.serverless_trace import Load, Trace
from espeer.sim.experiments.settings import Serverless
from espeer.sim.experiments.work import Work

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_KILLED: Final[tuple[tuple[Kind, str], ...]] = (("p2p", "a peer"), ("server", "the server"), ("server", "a client"))


async def run(settings: Serverless, work: Work) -> Report:
    """Do what is not done, and return what all of it came to.

    :raises InputError: there are fewer incidents than are to be learnt.
    """
    known = incidents.load()
    most = len(serverless_trace.coded(known))
    if settings.rounds * settings.lessons > most:
        raise InputError(f"there are {most} incidents to be learnt; rounds times lessons must not be more")
    traces = {
        seed: serverless_trace.draw(
            known,
            seed,
            devices=settings.devices,
            rounds=settings.rounds,
            lessons=settings.lessons,
            gap=settings.gap,
            at_once=settings.at_once,
        )
        for seed in settings.seeds
    }
    found = Measured()
    cells = [(seed, delay, kind) for seed in settings.seeds for delay in settings.delays for kind in KINDS]
    with work.phase("questions and lessons", len(cells)) as tick:
        for seed, delay, kind in cells:
            found.pieces[kind, delay, seed] = await work.once(
                f"{kind}, round trip {delay} ms, seed {seed}", partial(_measured, settings, kind, delay, traces[seed])
            )
            tick()
    outages = [(kind, killed, seed) for seed in settings.seeds for kind, killed in _KILLED] if settings.outages else []
    with work.phase("outages", len(outages)) as tick:
        for kind, killed, seed in outages:
            found.failures[kind, killed, seed] = await work.once(
                f"{killed} of {kind} killed, round trip {settings.outages} ms, seed {seed}",
                partial(_failed, settings, kind, _victim(settings, killed, seed), traces[seed]),
            )
            tick()
    return serverless_report.report(settings, found)


async def _measured(settings: Serverless, kind: Kind, delay: int, trace: Trace) -> Piece:
    return await measure(
        kind,
        trace,
        tuple(cast("Load", load) for load in settings.loads),
        devices=settings.devices,
        delay_ms=delay,
        model=settings.model,
        calm=settings.calm,
        quiet=settings.quiet,
    )


def _victim(settings: Serverless, killed: str, seed: int) -> int | None:
    """Return which device is killed, None for the server."""
    return None if killed == "the server" else seed % settings.devices


async def _failed(settings: Serverless, kind: Kind, victim: int | None, trace: Trace) -> Failed:
    return await fail(
        kind,
        victim,
        trace,
        devices=settings.devices,
        delay_ms=settings.outages,
        model=settings.model,
        calm=settings.calm,
    )
