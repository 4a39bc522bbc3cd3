"""`espeer refine`: condense what is alike, see what that would do, take it back."""

from typing import Any

from rich.markup import escape

from espeer.api.client import request
from espeer.cli.options import DEFAULT_TARGET, Target, Whole
from espeer.cli.show import console, print_json, table, when
from espeer.errors import InputError
from espeer.scale import Scale


def refine(
    *,
    dry_run: bool = False,
    undo: Whole | None = None,
    list: bool = False,
    type: str | None = None,
    scale: Scale | None = None,
    threshold: float | None = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Condense experiences that say the same, and keep the replica within its budget.

    A node does this by itself in idle time; this does it now. Ctrl-C stops it: what is done by then stays done.

    Example: espeer refine --dry-run --threshold 0.6

    :param dry_run: only show the groups, and what condensing them would save.
    :param undo: take back the run of this number.
    :param list: list the latest runs.
    :param type: only this topic type.
    :param scale: "normalised" (0 to 1) or "raw" (BM25 scores, the paper's); by default the node's.
    :param threshold: what is at least so alike on that scale is condensed; by default the node's.
    """
    if dry_run + list + (undo is not None) > 1:
        raise InputError("give one of --dry-run, --list and --undo")
    if (undo is not None or list) and (type or scale or threshold is not None):
        raise InputError("--type, --scale and --threshold are for a run, not for --list and --undo")
    if undo is not None:
        _show(request(target.data, "undo_refinement", {"run": undo}), target, _print_undone)
    elif list:
        _show(request(target.data, "refinements"), target, _print_runs)
    else:
        verb = "preview_refinement" if dry_run else "refine"
        found = request(target.data, verb, {"type": type, "scale": scale, "threshold": threshold})
        _show(found, target, _print_groups if dry_run else _print_outcome)


def _show(found: Any, target: Target, shown: Any) -> None:
    if target.json:
        print_json(found)
    else:
        shown(found)


def _print_outcome(found: dict[str, Any]) -> None:
    console.print(f"run {found['run']}: {found['before']} active experiences became {found['after']} in {found['seconds']} s")
    groups = [
        f"{found[name]} {what}"
        for name, what in (
            ("condensed", "condensed by the model"),
            ("extracted", "put together from their own sentences"),
            ("merged", "merged"),
            ("disputed", "with sources that disagree"),
        )
        if found[name]
    ]
    console.print("  groups: " + ", ".join(groups) if groups else "  nothing was alike enough", style="dim")
    if found["evicted"] or found["freed"]:
        room = f"evicted: {found['evicted']}, bytes of superseded and retracted ones freed: {found['freed']:,}"
        console.print(f"  for want of room: {room}", style="dim")
    what = "takes it back, but for what was evicted" if found["evicted"] else "takes it back"
    console.print(f"  espeer refine --undo {found['run']} {what}", style="dim")


def _print_groups(found: list[dict[str, Any]]) -> None:
    for number, group in enumerate(found, 1):
        size, alike = len(group["members"]), f"{group['weakest']:.2f}"
        console.print(f"group {number}: {group['action']} {size} of {group['type']}, alike {alike} or more", style="bold")
        for id_, text in zip(group["members"], group["texts"], strict=True):
            console.print(f"  {id_[:12]}  {escape(text)}")
    members = sum(len(group["members"]) for group in found)
    saved = sum(group["bytes_saved"] for group in found)
    if found:
        console.print(f"{members} experiences would become {len(found)}, about {saved:,} bytes less; nothing was changed")
    else:
        console.print("nothing is alike enough")


def _print_runs(found: list[dict[str, Any]]) -> None:
    if not found:
        console.print("no runs yet")
        return
    made = table("run", "started", "reason", "alike", "state")
    for run in found:
        state = "undone" if run["undone"] else "finished" if run["finished"] else "not finished"
        made.add_row(str(run["id"]), when(run["started"]), run["reason"], f"{run['threshold']:g} {run['scale']}", state)
    console.print(made)


def _print_undone(found: dict[str, Any]) -> None:
    console.print(f"experiences as before: {len(found['restored'])}, condensates taken back: {len(found['taken_back'])}")
    if found["lost"]:
        console.print(f"{len(found['lost'])} cannot come back: there was no room for them, and their texts were deleted")
