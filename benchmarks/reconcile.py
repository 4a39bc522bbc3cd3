"""How many bytes and messages it takes two peers to find out in what their records differ: `python -m benchmarks.reconcile`."""

import random
import time

from espeer.keys import Keys, KeySet, key_of
from espeer.p2p import reconcile

CASES = ((100_000, 0), (10_000, 20), (100_000, 20), (10_000, 200))
_FIRST_MS = 1_700_000_000_000
_STEP_MS = 1000


def main() -> None:
    """Print a table."""
    rng = random.Random(1)  # noqa: S311 - ids to measure with
    keys = [key_of(_FIRST_MS + number * _STEP_MS, rng.randbytes(32)) for number in range(max(size for size, _ in CASES))]
    print("records  differences  bytes  messages  milliseconds")
    for size, differences in CASES:
        half = differences // 2
        ours, theirs = KeySet(keys[: size - half]), KeySet([*keys[: size - 2 * half], *keys[size - half : size]])
        started = time.perf_counter()
        moved, messages, found = compare(ours.snapshot(), theirs.snapshot())
        spent = (time.perf_counter() - started) * 1000
        if found != half:
            raise RuntimeError(f"{found} ids were found, {half} are missing")
        print(f"{size:7,}  {differences:11}  {moved:5,}  {messages:8}  {spent:12.1f}")


def compare(ours: Keys, theirs: Keys) -> tuple[int, int, int]:
    """Return the bytes moved, the messages sent, each answered, and how many ids we found that we need."""
    moved = messages = 0
    need: set[bytes] = set()
    message: bytes | None = reconcile.opening(ours)
    while message is not None:
        answer = reconcile.answer(theirs, message)
        moved += len(message) + len(answer)
        messages += 1
        found = reconcile.compare(ours, answer)
        need.update(found.need)
        message = found.reply
    return moved, messages, len(need)


if __name__ == "__main__":
    main()
