"""`espeer ask` and `espeer feedback`."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from espeer.api.client import NOT_UTF8, request
from espeer.asking import AskOptions
from espeer.cli.options import DEFAULT_TARGET, Target, Whole
from espeer.cli.show import console, print_json, print_sources
from espeer.errors import InputError, StoreInUse
from espeer.folder import claimed, states_path, store_path
from espeer.sources import Chosen, choose
from espeer.text import MAX_INPUT, SLACK, visible


def ask(
    question: str,
    /,
    *,
    recall: Whole | None = None,
    type: str | None = None,
    max_tokens: Whole | None = None,
    temperature: float = 0.0,
    seed: Whole | None = None,
    stop: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    timeout: float | None = None,
    capture: Annotated[bool, Parameter(negative="--no-capture")] = True,
    offline: bool = False,
    model: str | None = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Ask a question; "-" reads it from standard input.

    Example: espeer ask "The Kestrel-3 shows J18, what now?"

    :param recall: the most experiences to use; 0 for none.
    :param type: use only experiences of this topic type.
    :param max_tokens: the most tokens of the answer; by default the node's --answer-tokens.
    :param temperature: 0 for the likeliest answer, 1 for answers as often as the model finds them likely.
    :param seed: for a temperature above 0: the same number gives the same answer.
    :param stop: a text that ends the answer; may be given several times.
    :param timeout: seconds that the answer may take; then it ends with what is there. By default the node's --answer-seconds.
    :param capture: keep the question and its answer on the node's disk, for `espeer feedback`.
    :param offline: answer without a running node, from the data folder alone.
    :param model: the model for --offline, as for `espeer node`.
    """
    text = read_text(question)
    if model and not offline:
        raise InputError("--model goes with --offline; a running node has its model")
    options = AskOptions(max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop, timeout=timeout, capture=capture)
    say: Callable[[str], None] = (lambda _: None) if target.json else _print_piece
    if offline:
        import trio  # noqa: PLC0415 - as in _ask_offline

        answer = trio.run(
            partial(
                _ask_offline,
                choose(target.config),
                target.data,
                text,
                say,
                recall=recall,
                type=type,
                model=model,
                options=options,
            )
        )
    else:
        params = {"question": text, "recall": recall, "type": type} | asdict(options)
        del params["grammar"]  # nobody can give one here
        answer = request(target.data, "ask", params, on_piece=say)
    if target.json:
        print_json(answer)
    else:
        console.print()
        print_sources(answer)


def feedback(
    answer: Whole, text: str = "", /, *, good: bool = False, bad: bool = False, target: Target = DEFAULT_TARGET
) -> None:
    """Say what became of an answer; a text is learnt from.

    Example: espeer feedback 7 "It was the idler gap: set it to 4 mm."

    :param answer: the number that `espeer ask` printed.
    :param text: what is right, or what happened.
    :param good: the answer was of use.
    :param bad: it was not.
    """
    if good and bad:
        raise InputError("--good and --bad contradict each other")
    rating = True if good else False if bad else None
    learnt = request(target.data, "feedback", {"answer": answer, "text": read_text(text), "good": rating})
    if target.json:
        print_json(learnt)
    else:
        console.print("noted")


def read_text(argument: str) -> str:
    """Return the text itself, or standard input where it is "-".

    :raises InputError: it is not UTF-8, or far too long.
    """
    if argument != "-":
        return argument
    most = SLACK * MAX_INPUT
    given = sys.stdin.buffer.read(most + 1)
    if len(given) > most:
        raise InputError(f"the text is too long: more than {most:,} bytes, at most {MAX_INPUT:,} are taken; shorten it")
    try:
        return given.decode()
    except UnicodeError as error:
        raise InputError(NOT_UTF8) from error


def _print_piece(piece: str) -> None:
    sys.stdout.write(visible(piece))  # a model may say anything
    sys.stdout.flush()


async def _ask_offline(
    chosen: Chosen,
    data: Path,
    question: str,
    say: Callable[[str], None],
    *,
    recall: int | None,
    type: str | None,
    model: str | None,
    options: AskOptions,
) -> Any:
    from espeer.api import views  # noqa: PLC0415 - with a running node none of this is needed, and it takes a second
    from espeer.node import Node  # noqa: PLC0415
    from espeer.store import Store  # noqa: PLC0415

    try:
        with claimed(data):
            store = Store.open(store_path(data))
            types = tuple(store.types())
            store.close()
    except StoreInUse as error:
        raise StoreInUse(f"a node runs on {data}; ask without --offline") from error
    given = {"model": model} if model else {}
    alone = {"role": "peer", "servers": (), "offline": True, "learning": False, "warming": False}
    config = chosen.config(data=data, types=types, **alone, **given)
    if not states_path(data).exists():  # its node may be one that keeps no states on disk
        config = replace(config, kv_disk_mb=0)
    async with Node(config) as node, node.stream(question, recall=recall, type=type, options=options) as stream:
        async for piece in stream:
            say(piece)
        return views.answer(await stream.answer())
