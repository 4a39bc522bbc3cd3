"""Commands that look at a running node: `recall`, `peers`, `status`, `id`."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from espeer.api.client import request
from espeer.cli.options import DEFAULT_TARGET, Target, Whole
from espeer.cli.show import console, print_experiences, print_json, print_unfolded, table


def recall(
    query: str, /, *, k: Annotated[Whole, Parameter(alias="-k")] = 5, type: str | None = None, target: Target = DEFAULT_TARGET
) -> None:
    """Show the experiences that fit a query best.

    Example: espeer recall "Kestrel-3 J18" -k 3

    :param k: how many, at most.
    :param type: only this topic type.
    """
    found = request(target.data, "recall", {"query": query, "k": k, "type": type})
    if target.json:
        print_json(found)
    else:
        print_experiences(found, scored=True)


def peers(*, target: Target = DEFAULT_TARGET) -> None:
    """List the connected peers.

    Example: espeer peers --json
    """
    found = request(target.data, "peers")
    if target.json:
        print_json(found)
    elif not found:
        console.print("no peers; start another node with --bootstrap and an address of this one (`espeer id`)")
    else:
        made = table("peer", "types", "in the mesh of", "addresses")
        for peer in found:
            made.add_row(
                peer["peer_id"], ", ".join(peer["types"]), ", ".join(peer["mesh"]), escape("\n".join(peer["addresses"]))
            )
        print_unfolded(made)


def status(*, target: Target = DEFAULT_TARGET) -> None:
    """Show how the node is doing: records, how its experiences came about, what waits, the network.

    Example: espeer status --json
    """
    found = request(target.data, "status")
    if target.json:
        print_json(found)
        return
    rates = found["method_rates"]
    made = table("", "")
    made.show_header = False
    made.add_row("node", found["peer_id"])
    private = " (private)" if found["private"] else ""
    peers = "1 peer" if found["peers"] == 1 else f"{found['peers']} peers"
    made.add_row("network", f"{found['role']} in {found['network_name']}{private}, {peers}")
    made.add_row("model", found["model"])
    made.add_row("types", ", ".join(found["types"]))
    for row in found["records"]:
        made.add_row("records", f"{row['records']} {row['state']} of {row['type']}")
    made.add_row("own experiences", ", ".join(f"{n} {how} ({rates[how]:.0%})" for how, n in found["methods"].items()) or "none")
    queued = f", {found['queued']} for a server" if found["role"] == "client" else ""
    made.add_row("waiting", f"{found['learning']} to be learnt from, {found['waiting']} for the model{queued}")
    made.add_row("kept for prompts", ", ".join(map(_figure, found["engine"].items())) or "nothing")
    counts = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in found["network"].items() if n)
    made.add_row("gossip and sync", counts or ("nothing yet" if found["network"] else "off"))
    console.print(made)


def _figure(named: tuple[str, Any]) -> str:
    """Show a statistic, whatever it is."""
    name, value = named
    shown = f"{value:,}" if type(value) is int else f"{value:.3g}" if type(value) is float else str(value)
    return f"{name.replace('_', ' ')} {shown}"


def id_(*, target: Target = DEFAULT_TARGET) -> None:
    """Print the node's peer id and the addresses that others can join it by.

    Example: espeer node --bootstrap "$(espeer id --json | jq -r .addresses[0])"
    """
    found = request(target.data, "status")
    if target.json:
        print_json({"peer_id": found["peer_id"], "addresses": found["addresses"]})
    else:
        console.print("\n".join([found["peer_id"], *found["addresses"]]))
