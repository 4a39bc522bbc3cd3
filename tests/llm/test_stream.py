from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from espeer.llm.stream import TextStream


def run(stream: TextStream, parts: list[bytes]) -> list[str]:
    return [*(stream.feed(part) for part in parts), stream.finish()]


@given(st.text(), st.lists(st.integers(0, 40)), st.text(min_size=1, max_size=3) | st.none())
def test_however_it_is_cut_the_text_is_the_same(text: str, cuts: list[int], stop: str | None) -> None:
    data = text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[start:end] for start, end in pairwise(edges)]
    pieces = run(TextStream((stop,) if stop else ()), parts)
    assert "".join(pieces) == (text.partition(stop)[0] if stop else text)


def test_characters_are_never_broken() -> None:
    one, two, three, four = (bytes([byte]) for byte in "\U0001f600".encode())
    assert run(TextStream(), [b"a" + one, two, three, four + b"b"]) == ["a", "", "", "\U0001f600b", ""]
    assert run(TextStream(), [b"a" + one + two]) == ["a", ""]
    assert run(TextStream(), [b"\xffa"]) == ["\ufffda", ""]


def test_what_could_begin_a_stop_text_is_held_back() -> None:
    stream = TextStream(("END", "\n\n"))
    assert [stream.feed(part) for part in (b"one E", b"N", b"D two")] == ["one ", "", ""]
    assert stream.stopped
    assert stream.feed(b"more") == stream.finish() == ""
    assert run(TextStream(("END",)), [b"E", b"N", b"T", b"E"]) == ["", "", "ENT", "", "E"]


def test_empty_stop_texts_stop_nothing() -> None:
    assert run(TextStream(("",)), [b"ab"]) == ["ab", ""]
