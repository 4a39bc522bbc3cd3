"""Submissions: clients and servers over loopback."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from replicas import PATIENCE, Peer, now_ms, record, records

from espeer.errors import EspeerError, NetworkError, ProtocolError, StoreFull
from espeer.p2p import submit as submit_module
from espeer.p2p.submit import (
    MAX_SUBMISSION,
    Verdict,
    decode_submission,
    decode_verdicts,
    encode_submission,
    encode_verdicts,
)
from espeer.p2p.wire import MAX_BATCH_RECORDS, pack
from espeer.records import SignedRecord, encode


async def client_of(nursery: trio.Nursery, *servers: Peer, seed: int = 9) -> Peer:
    addresses = [server.address for server in servers]
    client = await Peer(seed, types=[], listen=None, servers=addresses).start(nursery)
    await client.until_connected(*servers)
    return client


async def hand_over(client: Peer, batch: Sequence[SignedRecord]) -> list[Verdict]:
    with trio.fail_after(PATIENCE):
        return await client.swarm.others.submit(batch)


# -- messages


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=MAX_BATCH_RECORDS))
def test_verdicts_arrive_as_they_were_given(verdicts: list[Verdict]) -> None:
    assert decode_verdicts(encode_verdicts(verdicts), len(verdicts)) == verdicts


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_submission(data)
    with pytest.raises(NetworkError):
        decode_verdicts(data, 1)


def test_a_full_batch_fits_a_frame() -> None:
    batch = records(MAX_BATCH_RECORDS)
    data = encode_submission(batch)
    assert len(data) <= MAX_SUBMISSION
    assert decode_submission(data) == [encode(signed) for signed in batch]


@pytest.mark.parametrize(
    "said",
    [
        ["submit"],
        ["submit", []],
        ["submit", "x"],
        ["submit", [1]],
        ["submit", [b"x"], 1],
        ["submit", [b"x"] * (MAX_BATCH_RECORDS + 1)],
    ],
)
def test_what_is_no_submission_is_refused(said: Any) -> None:
    with pytest.raises(ProtocolError):
        decode_submission(pack(said))


@pytest.mark.parametrize("said", [["took"], ["took", []], ["took", [0, 0]], ["took", [4]], ["took", [True]], ["took", [-1]]])
def test_what_is_no_reply_to_a_submission_is_refused(said: Any) -> None:
    with pytest.raises(ProtocolError):
        decode_verdicts(pack(said), 1)


# -- between nodes


async def test_a_server_stores_what_a_client_submits_and_tells_its_peers(nursery: trio.Nursery) -> None:
    server = await Peer(1, accept=True).start(nursery)
    peer = await Peer(2, server.address).start(nursery)
    await server.until_meshed(peer)
    client = await client_of(nursery, server)
    new = records(3)
    assert await hand_over(client, new) == [Verdict.STORED] * 3
    assert {server.door.via[signed.id] for signed in new} == {"submit"}
    await peer.door.until_holds(new)
    assert peer.door.via[new[0].id] == "gossip"
    assert (client.swarm.counters.submitted, server.swarm.counters.accepted) == (3, 3)


async def test_what_is_submitted_again_is_acknowledged_and_not_told_again(nursery: trio.Nursery) -> None:
    server = await Peer(1, accept=True).start(nursery)
    client = await client_of(nursery, server)
    new, told = records(2), []
    server.swarm.others._submissions._taken = told.append
    for _ in range(2):
        assert await hand_over(client, new) == [Verdict.STORED] * 2
    assert len(server.door.held) == 2
    assert server.swarm.counters.duplicates == 2
    assert told == [new]


async def test_only_what_a_server_can_take_is_taken(nursery: trio.Nursery) -> None:
    server = await Peer(1, types=["biology"], accept=True).start(nursery)
    client = await client_of(nursery, server)
    batch = [record(1), record(2, kind="networking"), record(3, created=now_ms() + 3_600_000)]
    assert await hand_over(client, batch) == [Verdict.STORED, Verdict.NOT_HELD, Verdict.NOT_YET]
    assert list(server.door.held) == [batch[0].id]


async def test_what_one_server_does_not_hold_goes_to_the_next(nursery: trio.Nursery) -> None:
    first = await Peer(1, types=["biology"], accept=True).start(nursery)
    second = await Peer(2, types=["networking"], accept=True).start(nursery)
    client = await client_of(nursery, first, second)
    batch = [record(1), record(2, kind="networking"), record(3, kind="nobodys")]
    assert await hand_over(client, batch) == [Verdict.STORED, Verdict.STORED, Verdict.NOT_HELD]
    assert list(first.door.held) == [batch[0].id]
    assert list(second.door.held) == [batch[1].id]


async def test_the_next_server_is_taken_when_the_first_is_gone(nursery: trio.Nursery) -> None:
    first = await Peer(1, accept=True).start(nursery)
    second = await Peer(2, accept=True).start(nursery)
    client = await client_of(nursery, first, second)
    await hand_over(client, records(1))
    await first.stop()
    assert await hand_over(client, records(1, start=5)) == [Verdict.STORED]
    assert len(second.door.held) == 1


async def test_a_peer_takes_no_submissions(nursery: trio.Nursery) -> None:
    peer = await Peer(1).start(nursery)
    client = await client_of(nursery, peer)
    with pytest.raises(NetworkError):
        await hand_over(client, records(1))
    assert peer.door.held == {}


async def test_nothing_is_acknowledged_that_was_not_stored(nursery: trio.Nursery) -> None:
    server = await Peer(1, accept=True).start(nursery)
    server.door.failure = StoreFull("no room left")
    client = await client_of(nursery, server)
    with pytest.raises(NetworkError, match="cannot store"):
        await hand_over(client, records(1))
    server.door.failure = None
    assert await hand_over(client, records(1)) == [Verdict.STORED]


async def test_who_submits_too_much_is_told_so(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_module, "BURST", 5.0)
    monkeypatch.setattr(submit_module, "RATE", 0.001)
    server = await Peer(1, accept=True).start(nursery)
    client, other = await client_of(nursery, server), await client_of(nursery, server, seed=10)
    await hand_over(client, records(4))
    with pytest.raises(NetworkError, match="busy"):
        await hand_over(client, records(4, start=10))
    await hand_over(other, records(4, start=10))
    assert len(server.door.held) == 8


async def test_a_forged_record_is_blamed_on_its_bringer_and_nothing_is_stored(nursery: trio.Nursery) -> None:
    server = await Peer(1, accept=True).start(nursery)
    client = await client_of(nursery, server)
    accused: list[tuple[str, EspeerError]] = []
    server.swarm.others._submissions._conversations._blame = lambda peer_id, error: accused.append((peer_id, error))
    good = records(2)
    forged = SignedRecord(good[0].record, good[0].body, good[1].signature)
    with pytest.raises(NetworkError):
        await hand_over(client, [good[1], forged])
    assert [peer_id for peer_id, _ in accused] == [client.identity.peer_id]
    assert server.door.held == {}


async def test_without_a_server_nothing_is_submitted() -> None:
    with pytest.raises(NetworkError, match="no server is connected"):
        await Peer(1).swarm.others.submit(records(1))
