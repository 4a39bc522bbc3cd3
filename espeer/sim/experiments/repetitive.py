"""Repetitive experience (paper, section 4): clients that are asked about one topic again and again.

In every epoch each client is asked its own share of the questions, answers with what was known when the epoch began, and is
told what is right, which it distils and shares. The next epoch begins when everybody holds that. So what an answer rests on
does not depend on how fast the network is; the clients are real nodes and the network is libp2p over loopback.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from espeer.errors import ModelError, NetworkError
from espeer.inference import Choice, reported_confidence
from espeer.lifecycle import calibration, prompts
from espeer.lifecycle.choice import LETTERS
from espeer.llm.engine import Engine
from espeer.node import Node
from espeer.sim.experiments import questions
from espeer.sim.experiments.deployments import PATIENCE_SECONDS, Deployment, deployed
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.pupil import TYPE, interaction
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.remembering import Remembering, remembering
from espeer.sim.experiments.repetitive_report import ALONE, PLAIN, WAYS, Asked, Way, report
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Repetitive
from espeer.sim.experiments.trace import Ask, trace
from espeer.sim.experiments.work import Work, together

_AGAIN_SECONDS: Final = 0.5


async def run(settings: Repetitive, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    items = {subject: questions.some(questions.distinct(work.data, subject), settings.most) for subject in settings.subjects}
    asked: list[Asked] = []
    async with remembering(settings.model or None, work) as engine:
        method = (await calibration.known(engine)).method
        for subject in settings.subjects:
            for seed in settings.seeds:
                epochs = trace(items[subject], seed, clients=settings.clients, epochs=settings.epochs, share=settings.share)
                for way in WAYS:
                    asked += await _through(settings, work, engine, epochs, subject=subject, seed=seed, way=way)
        return report(settings, asked, model=engine.model.name, method=method)


async def _through(
    settings: Repetitive,
    work: Work,
    engine: Remembering,
    epochs: Sequence[Sequence[Ask]],
    *,
    subject: str,
    seed: int,
    way: Way,
) -> list[Asked]:
    """Put a deployment that knows nothing through all epochs."""
    asked: list[Asked] = []
    learnt: set[str] = set()
    how: Deployment = ALONE if way == PLAIN else way
    learning = [] if way == PLAIN else epochs[:-1]  # what the last one taught nobody would be asked about
    with work.phase(f"{subject}, seed {seed}: {way}", sum(map(len, (*epochs, *learning)))) as tick:
        async with deployed(how, engine, clients=settings.clients, type=TYPE) as fleet:
            for number, asks in enumerate(epochs, 1):
                ask = partial(_ask, engine, fleet.clients, k=0 if way == PLAIN else settings.k)
                answers = await together(asks, ask, tick)
                asked += [
                    Asked(
                        subject,
                        way,
                        seed,
                        number,
                        ask.client,
                        ask.item.id,
                        ask.before,
                        choice.index == ask.item.answer,
                        share=round(choice.confidence, 4),
                        reported=round(reported, 4),
                        recalled=digest([hit.experience.text for hit in choice.experiences]),
                    )
                    for ask, (choice, reported) in zip(asks, answers, strict=True)
                ]
                if number <= len(learning):
                    told = [(ask, choice) for ask, (choice, _) in zip(asks, answers, strict=True)]
                    learnt.update(await together(told, partial(_learn, fleet.clients, support=settings.support), tick))
                    await fleet.converged(learnt)
    return asked


async def _ask(engine: Engine, clients: Sequence[Node], ask: Ask, *, k: int) -> tuple[Choice, float]:
    """Have a client choose, and its model say how sure it is of that.

    Where its server does not answer now, it is asked again, or the answer would be of no use here.
    """
    deadline = trio.current_time() + PATIENCE_SECONDS
    while (choice := await clients[ask.client].choose(ask.item.question, ask.item.choices, recall=k)).unreached:
        if trio.current_time() > deadline:
            raise NetworkError("a client's server does not answer; go on when the machine has less to do")
        await trio.sleep(_AGAIN_SECONDS)
    return choice, await _reported(engine, ask.item, choice)


async def _reported(engine: Engine, item: Item, choice: Choice) -> float:
    """Ask the model whether its choice is right, with the same texts before it as when it chose."""
    notes = [prompts.note(hit.id, hit.experience.text) for hit in choice.experiences]
    asked, _ = prompts.choose(item.question, item.choices, notes, choice.method)
    said = f"{LETTERS[choice.index]}. {choice.text}" if choice.method == "letter" else choice.text
    return await reported_confidence(engine, asked, said)


async def _learn(clients: Sequence[Node], told: tuple[Ask, Choice], *, support: bool) -> str:
    """Tell a client what is right; return the id of the experience."""
    ask, choice = told
    heard = interaction(ask.item, ask.item.choices[choice.index], support=support)
    node = clients[ask.client]
    learnt = await node.learn(heard.query, response=heard.response, feedback=heard.feedback, type=TYPE, wait=True)
    if learnt.experience is None:
        raise ModelError("what a client was told was not distilled; its log says why")
    return learnt.experience
