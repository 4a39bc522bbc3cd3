"""A device that embeds a node: it reports its faults, learns what cured them, and asks its fleet before it calls for help.

    python examples/edge_app.py --data ~/.local/share/press-7 --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...

With --model fake it needs no weights, which is how its test runs it.
"""

import argparse
from pathlib import Path

import trio

import espeer

FAULTS = [
    ("Press 7 stops with E42 when the oil is cold.", "Purging the line for 40 seconds cured it."),
    ("Press 7 raises E17 after a die change.", "Setting the clamp delay to 300 ms cured it."),
]


async def main() -> None:
    """Run the app once."""
    options = argparse.ArgumentParser(description="a device that embeds an espeer node")
    options.add_argument("--data", type=Path, default=Path("press-7"))
    options.add_argument("--bootstrap", action="append", default=[])
    options.add_argument("--model")
    given = options.parse_args()

    config = espeer.Config(data=given.data, model=given.model, types=("presses",), bootstrap=tuple(given.bootstrap))
    async with espeer.Node(config) as node:
        for fault, cure in FAULTS:
            await node.learn(fault, feedback=cure)
        await node.flush()  # a device would just go on; the episodes close by themselves

        async with node.stream("E42 again on press 7, the oil is cold. What cures it?") as stream:
            async for piece in stream:
                print(piece, end="", flush=True)
            answer = await stream.answer()
        print()
        for hit in answer.experiences:
            print(f"  from: {hit.experience.text}")
        await node.feedback(answer.id, good=True)

        choice = await node.choose(
            "Press 7 shows E17. What should the clamp delay be?", ["100 ms", "300 ms", "500 ms", "700 ms"]
        )
        print(f"clamp delay: {choice.text} (confidence {choice.confidence:.2f})")


if __name__ == "__main__":
    try:
        trio.run(main)
    except espeer.EspeerError as error:
        raise SystemExit(f"edge_app: {error}") from None
