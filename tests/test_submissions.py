"""The queue of a client's experiences, on a real store."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from espeer.errors import StoreFull
from espeer.interaction import Interaction
from espeer.records import SignedRecord
from espeer.replica import Replica
from espeer.store import Store
from espeer.submissions import Queue

Make = Callable[..., SignedRecord]


def open_queue(path: Path, most: int = 100) -> Queue:
    return Queue(Store.open(path / "q.db"), types=("pumps", "valves"), most=most)


def test_it_keeps_the_order_over_a_restart(tmp_path: Path, experience: Make) -> None:
    made = [experience(f"lesson {number}") for number in range(5)]
    queue = open_queue(tmp_path)
    for signed in made:
        assert queue.add([signed], via="own") == [signed]
    queue._store.close()
    again = open_queue(tmp_path)
    assert len(again) == 5
    waiting = again.oldest(3)
    assert [signed for _, signed in waiting] == made[:3]
    assert [signed for _, signed in again.oldest(9, waiting[-1][0])] == made[3:]
    again.remove([place for place, _ in waiting])
    assert [signed for _, signed in again.oldest(9)] == made[3:]


def test_the_same_twice_waits_once(tmp_path: Path, experience: Make) -> None:
    queue = open_queue(tmp_path)
    queue.add([experience("lesson")], via="own")
    assert queue.add([experience("lesson")], via="own") == []
    assert len(queue) == 1


def test_a_place_is_not_given_again(tmp_path: Path, experience: Make) -> None:
    queue = open_queue(tmp_path)
    queue.add([experience("one")], via="own")
    ((place, _),) = queue.oldest(1)
    queue.remove([place])
    queue.add([experience("two")], via="own")
    assert len(queue.oldest(1, place)) == 1


def test_a_full_queue_takes_nothing_and_leaves_the_episode_open(tmp_path: Path, experience: Make) -> None:
    queue = open_queue(tmp_path, most=1)
    queue.add([experience("one")], via="own")
    store = queue._store
    told = store.add_interaction(Interaction(0, 1, "two"), ready=True)
    episode = store.close_episode([told.id], now_ms=1)
    with pytest.raises(StoreFull, match="see that one is up"):
        queue.check_room()
    with pytest.raises(StoreFull):
        queue.add([experience("two")], via="own", episode=episode)
    assert len(queue) == 1
    assert store.pending_episodes() == [episode]


def test_an_episode_is_done_with_once_its_experience_waits(tmp_path: Path, experience: Make) -> None:
    queue = open_queue(tmp_path)
    store = queue._store
    told = store.add_interaction(Interaction(0, 1, "two"), ready=True)
    episode = store.close_episode([told.id], now_ms=1)
    made = experience("two")
    queue.add([made], via="own", episode=episode)
    assert store.pending_episodes() == []
    assert store.experience_of(told.id) == made.id


def test_a_node_that_is_no_client_any_more_keeps_what_waited(tmp_path: Path, experience: Make) -> None:
    queue = open_queue(tmp_path)
    kept, other = experience("E42 on the pump"), experience("E42 on the door", type="valves")
    queue.add([kept, other], via="own")
    replica = Replica(queue._store, types=("pumps",), clock=lambda: 1)
    queue.move_to(replica)
    assert [hit.id for hit in replica.recall("E42", 5)] == [kept.id.hex()]
    assert [signed for _, signed in queue.oldest(5)] == [other]
    queue.move_to(replica)
    assert len(replica) == 1


KILLED = """
import os, sys
from pathlib import Path
from nacl.signing import SigningKey
from espeer import records
from espeer.records import Experience
from espeer.store import Store
from espeer.submissions import Queue

key = SigningKey(bytes(32))
queue = Queue(Store.open(Path(sys.argv[1]) / "q.db"), types=("pumps",))
for number in range(20):
    value = Experience("pumps", f"lesson {number}", number, bytes(key.verify_key), "fake", "distilled")
    queue.add([records.sign(value, lambda digest: key.sign(digest).signature)], via="own")
queue.remove([place for place, _ in queue.oldest(5)])
os.kill(os.getpid(), 9)
"""


def test_what_was_queued_survives_a_kill(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -9
    assert [signed.record.text for _, signed in open_queue(tmp_path).oldest(99)] == [
        f"lesson {number}" for number in range(5, 20)
    ]
