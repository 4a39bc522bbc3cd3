"""`espeer invite`: a ticket for another node."""

import sys

from espeer.api.client import request
from espeer.cli.options import DEFAULT_TARGET, Target
from espeer.cli.show import print_json


def invite(*, target: Target = DEFAULT_TARGET) -> None:
    """Print a ticket: one string by which another node joins the network of this one.

    The other side types: espeer node --join TICKET

    The ticket of a private network holds its key. Whoever has the ticket can enter, for as long as the network has that key:
    send it by a way that nobody else reads.

    Example: espeer invite | ssh other espeer node --join -
    """
    found = request(target.data, "invite")
    if target.json:
        print_json(found)
        return
    print(found["ticket"])  # noqa: T201 - alone on standard output, to be piped
    if found["private"]:
        _hint("a secret: whoever has this ticket can enter the network")
    if found["local"]:
        _hint("only nodes on this machine reach this one; start it with --listen /ip4/0.0.0.0/tcp/4001 for others")


def _hint(text: str) -> None:
    print(f"espeer: {text}", file=sys.stderr)  # noqa: T201 - the command line's voice
