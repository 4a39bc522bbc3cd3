from hypothesis import given
from hypothesis import strategies as st
from replicas import identity
from zeroconf import DNSIncoming, DNSOutgoing, DNSText

from espeer.p2p.addresses import PeerAddress
from espeer.p2p.beacon import MAX_ADDRESSES, SERVICE, Heard, answer, at_host, hear, question, service_of

PEER = identity(1).peer_id
HOST = "192.168.7.11"
HERE = PeerAddress(PEER, f"/ip4/{HOST}/tcp/4001")
ELSEWHERE = PeerAddress(PEER, "/ip4/198.51.100.1/tcp/4001")
NOTHING = Heard(asks=False, addresses=())


def told(*strings: str, name: str = f"x.{SERVICE}") -> bytes:
    text = b"".join(bytes([len(string)]) + string.encode() for string in strings)
    message = DNSOutgoing(0x8400)
    message.add_answer_at_time(DNSText(name, 16, 1, 120, text), 0)
    return message.packets()[0]


def test_a_question_is_what_libp2p_asks() -> None:
    assert question() == (
        b"\0\0\0\0\0\x01\0\0\0\0\0\0"  # one question
        b"\x04_p2p\x04_udp\x05local\0\0\x0c\0\x01"  # PTR, IN
    )
    assert hear(question(), HOST, "plant") == Heard(asks=True, addresses=())
    assert hear(question("_http._tcp.local."), HOST, "plant") == NOTHING


def test_an_answer_names_us_and_holds_our_addresses_as_libp2p_has_it() -> None:
    data = answer("n" * 40, "plant", HOST, [HERE])
    pointer, *rest = DNSIncoming(data).answers()
    assert (pointer.name, pointer.alias) == (SERVICE, f"{'n' * 40}.{SERVICE}")
    (text,) = [record for record in rest if isinstance(record, DNSText)]
    assert text.name == pointer.alias
    assert f"dnsaddr={HERE}".encode() in text.text
    assert hear(data, HOST, "plant") == Heard(asks=False, addresses=(HERE,))


def test_another_network_and_plain_libp2p_are_passed_over() -> None:
    assert hear(answer("n", "office", HOST, [HERE]), HOST, "plant") == NOTHING
    assert hear(told(f"dnsaddr={HERE}"), HOST, "plant") == NOTHING
    assert hear(told("espeer=plant", f"dnsaddr={HERE}", name="x._http._tcp.local."), HOST, "plant") == NOTHING


def test_a_private_network_asks_and_answers_for_itself() -> None:
    service = service_of(bytes(32))
    assert service != SERVICE == service_of(None)
    assert hear(question(service), HOST, "plant", service).asks
    assert hear(question(service), HOST, "plant") == NOTHING
    assert hear(question(), HOST, "plant", service) == NOTHING
    data = answer("n" * 40, "plant", HOST, [HERE], service)
    assert hear(data, HOST, "plant", service).addresses == (HERE,)
    assert hear(data, HOST, "plant") == NOTHING
    assert bytes(32).hex() not in service


def test_a_node_may_only_say_that_it_is_there_itself() -> None:
    relayed = HERE.through(identity(2).peer_id)
    assert hear(told("espeer=plant", *(f"dnsaddr={a}" for a in (ELSEWHERE, relayed, HERE))), HOST, "plant").addresses == (HERE,)
    assert hear(told("espeer=plant", f"dnsaddr=/dns4/localhost/tcp/1/p2p/{PEER}"), HOST, "plant") == NOTHING


def test_only_so_many_addresses_are_taken_and_told() -> None:
    many = [PeerAddress(PEER, f"/ip4/{HOST}/tcp/{port}") for port in range(1, 20)]
    assert len(hear(told("espeer=plant", *(f"dnsaddr={a}" for a in many)), HOST, "plant").addresses) == MAX_ADDRESSES
    assert hear(answer("n", "plant", HOST, many), HOST, "plant").addresses == tuple(many[:MAX_ADDRESSES])


def test_our_addresses_at_a_host() -> None:
    everywhere, loopback = PeerAddress(PEER, "/ip4/0.0.0.0/tcp/1"), PeerAddress(PEER, "/ip4/127.0.0.1/tcp/2")
    assert at_host([everywhere, loopback, ELSEWHERE, HERE, HERE.through(PEER)], HOST) == [
        PeerAddress(PEER, f"/ip4/{HOST}/tcp/1"),
        HERE,
    ]


def test_a_message_of_too_many_records_is_not_read() -> None:
    data = bytearray(answer("n", "plant", HOST, [HERE]))
    data[6:8] = b"\xff\xff"
    assert hear(bytes(data), HOST, "plant") == NOTHING
    assert hear(answer("n", "plant", HOST, [HERE]) + bytes(9000), HOST, "plant") == NOTHING


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_no_message_makes_it_fail(garbage: bytes, start: int, length: int) -> None:
    hear(garbage, HOST, "plant")
    data = answer("n" * 40, "plant", HOST, [HERE])
    heard = hear(data[:start] + garbage + data[start + length :], HOST, "plant")
    assert all(address.transport.startswith(f"/ip4/{HOST}/") for address in heard.addresses)
