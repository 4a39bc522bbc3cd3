import json
import subprocess
import sys

import pytest

from espeer.errors import BadAddress, EspeerError, InputError
from espeer.p2p.identity import Identity
from espeer.sim.attacker import Plan
from espeer.sim.attacks import KINDS

PEER = Identity(bytes(32)).peer_id
NEAR = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"


def plan(**changes: object) -> Plan:
    settings = {"target": NEAR, "kind": "garbage", "seed": 1, "seconds": 1.0, "network": "test", "type": "pumps"}
    return Plan(**settings | changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"target": f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"}, InputError),
        ({"target": f"/ip4/127.0.0.2/tcp/4001/p2p/{PEER}"}, InputError),
        ({"target": f"/dns4/localhost/tcp/4001/p2p/{PEER}"}, InputError),
        ({"target": "127.0.0.1:4001"}, BadAddress),
        ({"kind": "kindness"}, InputError),
        ({"seconds": 0}, InputError),
        ({"seconds": 1e9}, InputError),
        ({"seconds": float("nan")}, InputError),
        ({"type": "NOT A TYPE"}, InputError),
    ],
)
def test_only_this_machine_is_attacked_and_not_for_long(changes: dict[str, object], error: type[EspeerError]) -> None:
    assert plan().target == NEAR
    with pytest.raises(error):
        plan(**changes)


def test_there_is_an_attack_of_each_kind() -> None:
    asked = {"garbage", "oversized", "ihave", "forged", "wrong-type", "replay", "slow-reader", "streams"}
    assert set(KINDS) == asked | {"flood"}


def test_the_program_says_what_it_got_done() -> None:
    """Nobody listens there, so it is nothing."""
    command = [sys.executable, "-m", "espeer.sim.attacker", "--target", f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}", "--kind", "forged"]
    done = subprocess.run([*command, "--seconds", "1"], capture_output=True, check=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["kind"] == "forged"
    assert (said["connections"], said["messages"], said["sent"]) == (0, 0, 0)
    assert said["refused"] >= 1
