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
from espeer.sim.experiments.serverless_drive import fail, measure, spread
from espeer.sim.experiments.serverless_found import Failed, How, Kind, Measured, Piece
from espeer.sim.experiments.serverless_trace import Load, Trace
from espeer.sim.experiments.settings import Serverless
from espeer.sim.experiments.work import Work

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


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
    kind: Kind
    with work.phase("questions and lessons", len(cells)) as tick:
        for seed, delay, kind in cells:
            whole = delay == settings.delays[0]
            key = f"{kind}, round trip {delay} ms, seed {seed}{', with choices and refining' if whole else ''}"
            make = partial(_measured, settings, kind, delay, traces[seed], whole=whole)
            found.pieces[kind, delay, seed] = await work.once(key, make)
            tick()
    with work.phase("how soon a lesson helps all", len(cells)) as tick:
        for seed, delay, kind in cells:
            teach = partial(spread, kind, traces[seed], devices=settings.devices, delay_ms=delay, model=settings.model)
            found.spreads[kind, delay, seed] = await work.once(f"spread, {kind}, round trip {delay} ms, seed {seed}", teach)
            tick()
    with work.phase("peers that do not warm", len(settings.seeds)) as tick:
        for seed in settings.seeds:
            delay = settings.delays[0]
            make = partial(_measured, settings, "p2p", delay, traces[seed], whole=False, warming=False)
            found.cold[seed] = await work.once(f"p2p without warming, round trip {delay} ms, seed {seed}", make)
            tick()
    outages = [(seed, lost) for seed in settings.seeds for lost in settings.lost]
    with work.phase("outages", len(outages)) as tick:
        for seed, lost in outages:
            name, _, how = lost.partition(" ")
            kind = "p2p" if name == "peer" else "server"
            victim = None if name == "server" else seed % settings.devices
            make_failed = partial(_failed, settings, kind, victim, cast("How", how), traces[seed])
            key = f"{lost}, round trip {settings.outages} ms, seed {seed}"
            found.failures[kind, lost, seed] = await work.once(key, make_failed)
            tick()
    return serverless_report.report(settings, found)


async def _measured(settings: Serverless, kind: Kind, delay: int, trace: Trace, *, whole: bool, warming: bool = True) -> Piece:
    return await measure(
        kind,
        trace,
        tuple(cast("Load", load) for load in settings.loads),
        devices=settings.devices,
        delay_ms=delay,
        model=settings.model,
        calm=settings.calm,
        quiet=settings.quiet,
        whole=whole,
        warming=warming,
    )


async def _failed(settings: Serverless, kind: Kind, victim: int | None, how: How, trace: Trace) -> Failed:
    return await fail(
        kind,
        victim,
        how,
        trace,
        devices=settings.devices,
        delay_ms=settings.outages,
        model=settings.model,
        calm=settings.calm,
    )
