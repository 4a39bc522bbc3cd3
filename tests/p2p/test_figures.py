"""Every number in docs/protocol.md is the one that the code goes by: who changes one finds the other here."""

import re
from pathlib import Path

import pytest
from test_records import GOLDEN_EXPERIENCE, GOLDEN_RETRACTION, NOW

from espeer import config, errors, records
from espeer.keys import STAMP_SIZE, KeySet, key_of
from espeer.p2p import (
    addresses,
    beacon,
    circuit,
    claims,
    frames,
    gone,
    gossip,
    hardening,
    hello,
    mdns,
    muxer,
    private,
    pubsub,
    pull,
    question,
    reception,
    reconcile,
    relay,
    remote,
    reservations,
    room,
    router,
    screen,
    submit,
    sync,
    ticket,
    trust,
    wire,
)
from espeer.p2p.slots import Limits
from espeer.replica import MIN_COVERAGE

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
PAGE = " ".join(TEXT.split())
KIB, MIB = 1024, 1024 * 1024


def n(value: float) -> str:
    """A number as the page writes it."""
    return f"{round(value):,}" if abs(value - round(value)) < 1e-9 else f"{value:g}"


LIMITS = Limits()


@pytest.mark.parametrize(
    "said",
    [
        # Transport
        (
            f"A handshake may take {n(reception.HANDSHAKE_SECONDS)} s. At most {reception.MAX_HALF_OPEN} unfinished inbound "
            f"ones, {reception.MAX_HALF_OPEN_PER_SOURCE} of one source"
        ),
        f"At most {reception.MAX_INBOUND} inbound connections, {reception.MAX_INBOUND_PER_SOURCE} of one source",
        # Frames
        f"at most {n(wire.MAX_FRAME)} bytes. A payload is one msgpack value",
        (
            f"at most {wire.MAX_ARRAYS} arrays in all, each of at most {wire.MAX_BATCH_RECORDS} items "
            f"({pull.MAX_RECORDS} where it says so)"
        ),
        f"A frame takes at most {n(frames.FRAME_SECONDS)} s",
        f"for one that was spoken with for less, after {n(room.GRACE)} s at the earliest",
        # Records
        f"at most {n(records.MAX_TEXT)} bytes, see below",
        f"that a condensate stands for, {records.MAX_SOURCES} at most",
        f"{n(records.MAX_RECORD)} bytes at most (the limits",
        f"an array of more than {records.MAX_SOURCES} items, or a map of more than {records.MAX_KEYS}",
        f"more than {n(records.MAX_CLOCK_SKEW_MS)} ms ahead",
        # Gossip
        f"array of 1 to {wire.MAX_BATCH_RECORDS} encoded records",
        f"| more than {n(wire.MAX_BATCH)} bytes | FrameTooLarge |",
        f"among the last {n(screen.RECENT)} that gossip brought",
        f"over its share: {n(screen.AUTHOR_RATE)} records a second, {n(screen.AUTHOR_BURST)} at once",
        f"publishes at most {n(gossip.RATE)} messages a second, {gossip.BURST} at once",
        f"or waits ({n(gossip.OUTBOX)} records)",
        f"keeps {gossip.INBOX} messages waiting",
        (
            f"An RPC has at most {pubsub.MAX_RPC // MIB} MiB, {n(pubsub.MAX_MESSAGES)} messages, "
            f"{n(pubsub.MAX_MESSAGES)} subscriptions, and {n(pubsub.MAX_CONTROL)} message ids"
        ),
        f"At an IHAVE at most {router.MAX_WANTED} messages are asked for",
        f"waited for at a time, for {n(router.PROMISE_SECONDS)} s",
        # Greeting
        f"`/espeer/1/NETWORK/hello/1`, at most {n(hello.HELLO_SECONDS)} s",
        f"at most {hello.MAX_ADDRESSES} multiaddrs each, as strings of at most {addresses.MAX_ADDRESS} characters",
        # Sync
        f"`/espeer/1/NETWORK/sync/2`, at most {n(sync.PULL_SECONDS)} s, {sync.MAX_INBOUND} streams at a time",
        f"ids, and at most {n(reconcile.MAX_MESSAGE)} bytes",
        f"writes at most about {reconcile.LIMIT // KIB} KiB",
        f"and an answer of {len(wire.pack(['reconcile', reconcile.VERSION]))}.",
        f"`ids` are 1 to {n(pull.MAX_GET)} ids",
        f"holds 1 to {pull.MAX_RECORDS} encoded records, of at most {pull.MAX_RECORDS_BYTES // KIB} KiB together",
        f"remembers {n(gone.MAX_GONE)} for a peer and type, {n(4 * gone.MAX_GONE)} in all",
        f"asked for less than {n(claims.CLAIM_SECONDS)} s ago",
        f"pulls from {sync.MAX_PULLS} peers at a time, for {n(sync.TURN_SECONDS)} s and {n(sync.PER_RECORD)} s more",
        f"at most every {n(sync.NEWS_SECONDS)} s from one peer",
        f"after {n(pull.MAX_ROUNDS)} questions, or {pull.MAX_BARREN} in a row",
        f"about {n(sync.WORK / pull.WORK_PER_RECORD)} records a second",
        (
            f"with {n(sync.WORK_AT_ONCE / pull.WORK_PER_RECORD)} at once ({n(1000 * pull.WORK_PER_RECORD)} ms a record, "
            f"{n(1000 * pull.WORK_PER_MESSAGE)} ms and {n(1e6 * pull.WORK_PER_BYTE)} µs a byte"
        ),
        f"{n(sync.WORK)} s of such work a second, {n(sync.WORK_AT_ONCE)} s at once",
        # Recall
        f"at most {n(question.MAX_REPLY)} bytes (16 × (8,192 + 16) + 64)",
        f"| query | string | at most {n(question.MAX_QUERY)} bytes",
        f"| types | array of strings | 1 to {question.MAX_TYPES}",
        f"| k | integer | 1 to {question.MAX_K} |",
        (
            f"{n(remote.RATE)} questions a second of one peer ({n(remote.BURST)} at once), "
            f"{n(remote.RATE_OF_ALL)} a second of all ({n(remote.BURST_OF_ALL)} at once)"
        ),
        f"less than {n(100 * MIN_COVERAGE)} % of the query's terms",
        f"A conversation may take {n(remote.ANSWER_SECONDS)} s",
        f"at most {n(remote.DOUBT_SECONDS)} s more",
        f"set aside for {n(remote.ASIDE_SECONDS)} s",
        f"kept for {n(remote.KEPT_SECONDS)} s, {remote.KEPT} at most",
        # Submit
        f"at most {n(submit.MAX_SUBMISSION)} bytes (64 × (8,192 + 8) + 64)",
        f"1 to {wire.MAX_BATCH_RECORDS} signed records (bin)",
        (
            f"{n(submit.RATE)} a second of one peer ({n(submit.BURST)} at once), "
            f"{n(submit.RATE_OF_ALL)} a second of all ({n(submit.BURST_OF_ALL)} at once)"
        ),
        f"one may take {n(submit.SUBMIT_SECONDS)} s",
        *(f"| {verdict.value} | the server" for verdict in submit.Verdict if verdict is not submit.Verdict.NOT_YET),
        f"| {submit.Verdict.NOT_YET.value} | by the server's clock",
        # Relays
        f"A message has at most {n(circuit.MAX_MESSAGE)} bytes, and a peer id in it 1 to {circuit.MAX_PEER_ID}",
        f"A message is waited for {n(circuit.TURN_SECONDS)} s",
        f"`addrs` (at most {relay.MAX_ADDRESSES}:",
        f"({LIMITS.reservations} slots, {LIMITS.per_host} of one IP address",
        (
            f"More than {LIMITS.circuits} circuits, {LIMITS.per_peer} that begin or end at one peer, "
            f"or {LIMITS.per_pair} that join the same two"
        ),
        f"More than {n(relay.REQUEST_BURST)} requests at once",
        f"carries at most {LIMITS.circuit_bytes // MIB} MiB, both ways together, at {n(LIMITS.rate / MIB)} MiB/s each way",
        f"takes nothing for {n(relay.STALL_SECONDS)} s, or ends its half",
        f"and at most {reservations.MAX_INBOUND} circuits at a time",
        # On a LAN
        f"UDP, {mdns.GROUP}, port {mdns.PORT}",
        f"at last every {n(mdns.ASK_SECONDS)} s",
        f"0 to {n(1000 * mdns.MAX_DELAY)} ms after a question",
        f"TTL {beacon.TTL} s",
        f"up to {beacon.MAX_ADDRESSES} of `dnsaddr=",
        f"more than {n(beacon.MAX_DATAGRAM)} bytes or more than {beacon.MAX_RECORDS} questions and records",
        f"faster than {n(mdns.RATE)} a second ({n(mdns.BURST)} at once)",
        # Private networks and tickets
        f"sends {private.NONCE_SIZE} random bytes",
        f"at most {n(ticket.MAX_TICKET)} characters",
        f"at most {config.MAX_TYPES} types; `key` has {config.KEY_SIZE} bytes",
        (
            f"at most {ticket.MAX_ADDRESSES} addresses, each a multiaddr with `/p2p/` as may be dialled, "
            f"at most {addresses.MAX_ADDRESS} characters"
        ),
        # What a peer may cost
        f"a connection, all protocols | {muxer.MAX_INBOUND} |",
        f"| streams opened | {n(muxer.OPENS)} a second, {n(muxer.OPENS_BURST)} at once |",
        f"bytes of a frame of yamux | {muxer.MAX_WINDOW // MIB} MiB |",
        f"on all streams of a connection | {muxer.MAX_UNREAD // MIB} MiB |",
        f"{muxer.FRAME_BYTES // KIB} KiB one more | {n(muxer.FRAMES)} a second, {n(muxer.FRAMES_BURST)} at once |",
        f"| {n(pubsub.RATE)} a second, {n(pubsub.BURST)} at once | read more slowly |",
        f"nothing new in them | {n(screen.REPLAY_RATE)} a second, {n(screen.REPLAY_BURST)} at once |",
        f"by gossip | {n(screen.AUTHOR_RATE)} a second, {n(screen.AUTHOR_BURST)} at once |",
        f"| {hardening.OUTBOUND_QUEUE} messages, {hardening.OUTBOUND_BYTES // MIB} MiB |",
        f"| {n(muxer.STALL_SECONDS)} s (pings every {n(muxer.PING_INTERVAL)} s) |",
        # Offences
        f"over its limit | {n(trust.weight(errors.FrameTooLarge()))} |",
        f"any protocol of ours | {n(trust.weight(errors.ProtocolError()))} |",
        f"| flooding | {n(trust.weight(errors.Flooding()))} |",
        f"| a promise that is not kept | {n(trust.weight(errors.BrokenPromise()))} |",
        f"| not reading what it is sent | {n(trust.weight(errors.SlowReader()))} |",
        f"ahead of our clock | {n(trust.weight(errors.FromTheFuture()))} |",
        f"halved every {n(trust.HALF_LIFE / 60)} minutes. At {n(trust.LIMIT)} the peer",
        (
            f"refused for {n(trust.FIRST_BAN)} s, {n(trust.GROWTH * trust.FIRST_BAN)} s, "
            f"{n(trust.GROWTH**2 * trust.FIRST_BAN)} s, ..., at most {n(trust.LAST_BAN / 3600)} h; "
            f"it comes back with {n(trust.LIMIT / 2)}, "
            f"and counts as new again {n(trust.MEMORY / 3600)} h after"
        ),
    ],
)
def test_the_page_has_the_figures_of_the_code(said: str) -> None:
    assert said in PAGE


def test_the_page_names_the_errors_of_the_tree() -> None:
    words = {word.strip("`,.;:()|") for word in PAGE.split()}
    named = {word for word in words if word.endswith("Error") or word in vars(errors)}
    assert {"ProtocolError", "FrameTooLarge", "Flooding", "BrokenPromise", "SlowReader", "BadSignature"} <= named
    assert not {word for word in named if not hasattr(errors, word)}


def test_the_page_compares_the_records_of_its_examples_as_the_code_does() -> None:
    ids = [records.decode(bytes.fromhex(golden), now_ms=NOW).id for golden in (GOLDEN_EXPERIENCE, GOLDEN_RETRACTION)]
    held = KeySet(key_of(NOW, id_) for id_ in ids).snapshot()
    assert f"`{held[0][:STAMP_SIZE].hex()}`" in PAGE
    assert f"both is `{held.fingerprint(0, 2).hex()}`, that of nothing `{held.fingerprint(0, 0).hex()}`" in PAGE

    (block,) = re.findall(r"```\n(61.*?)```", TEXT, re.DOTALL)
    shown = "\n".join(re.split(" {3,}", line.strip())[0] for line in block.splitlines())
    asked, answered, halves = (bytes.fromhex("61" + message) for message in re.split("^61", shown, flags=re.MULTILINE)[1:])
    assert asked == reconcile.opening(KeySet().snapshot())
    assert answered == reconcile.answer(held, asked)
    assert reconcile.answer(held, halves) == reconcile.VERSION  # equal, in both ranges
