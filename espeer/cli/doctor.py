"""`espeer doctor`."""

from dataclasses import asdict
from typing import Annotated, Final

from cyclopts import Parameter
from rich.markup import escape

from espeer.cli.flags import NO_FLAGS, Flags, given
from espeer.cli.options import ConfigFile, Json
from espeer.cli.show import console, print_json
from espeer.errors import EspeerError

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Unwell(EspeerError):
    """The doctor found faults."""


def doctor(
    *,
    dial: Annotated[bool, Parameter(help="connect to the peers that the settings name, too.")] = False,
    flags: Flags = NO_FLAGS,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Look for the usual faults, of a node that runs or is to run: settings, data, model, ports, clock, versions, peers.

    Nothing is changed, and it takes three seconds at the most. Ends with exit code 1 where something fails. It takes the flags
    of `espeer node`: give those that the node has or is to have.

    Example: espeer doctor --listen /ip4/0.0.0.0/tcp/4001
    """
    from espeer.doctor.examine import examine  # noqa: PLC0415 - no other verb needs it

    findings = examine(file=config, flags=given(flags), network=dial)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            style = _STYLES[finding.state]
            advice = f" [dim]→[/] {escape(finding.advice)}" if finding.advice else ""
            console.print(f"[{style}]{finding.state:<4}[/]  {finding.check}: {escape(finding.said)}{advice}")
    failed = [finding.check for finding in findings if finding.state == "fail"]
    if failed:
        raise Unwell(f"something is wrong with: {', '.join(dict.fromkeys(failed))}")
