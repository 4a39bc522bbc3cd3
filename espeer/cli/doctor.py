"""`espeer doctor`."""

from dataclasses import asdict
from typing import Annotated, Final

from cyclopts import Parameter
from rich.markup import escape

from espeer.cli.options import Target
from espeer.cli.show import console, print_json
from espeer.errors import EspeerError

_DEFAULT_TARGET: Final = Target()
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Unwell(EspeerError):
    """The doctor found faults."""


def doctor(
    *,
    network: Annotated[bool, Parameter(help="connect to the peers that the settings name, too.")] = False,
    target: Target = _DEFAULT_TARGET,
) -> None:
    """Look for the usual faults, of a node that runs or is to run: settings, data, model, ports, clock, versions, peers.

    Nothing is changed, and it takes three seconds at the most. Ends with exit code 1 where something fails.

    Example: espeer doctor --json
    """
    from espeer.doctor.examine import examine  # noqa: PLC0415 - no other verb needs it

    findings = examine(file=target.config, folder=target.folder, network=network)
    if target.json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            style = _STYLES[finding.state]
            advice = f" [dim]→[/] {escape(finding.advice)}" if finding.advice else ""
            console.print(f"[{style}]{finding.state:<4}[/]  {finding.check}: {escape(finding.said)}{advice}")
    failed = [finding.check for finding in findings if finding.state == "fail"]
    if failed:
        raise Unwell(f"something is wrong with: {', '.join(dict.fromkeys(failed))}")
