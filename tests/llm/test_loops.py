import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.llm.loops import is_looping


@pytest.mark.parametrize(
    ("tokens", "loops"),
    [
        ([], False),
        ([7] * 11, False),
        ([7] * 12, True),
        ([1, 2] * 5, False),
        ([1, 2] * 6, True),
        ([9, 9, 9, *[1, 2, 3, 4, 5] * 2], False),
        ([9, 9, 9, *[1, 2, 3, 4, 5] * 3], True),
        ([*[1, 2, 3, 4, 5] * 3, 6], False),
    ],
)
def test_a_loop_is_the_same_run_three_times_and_twelve_tokens_long(tokens: list[int], loops: bool) -> None:
    assert is_looping(tokens) is loops


@given(st.lists(st.integers(), max_size=20), st.lists(st.integers(), min_size=4, max_size=40))
def test_any_long_run_said_three_times_is_a_loop(before: list[int], run: list[int]) -> None:
    assert is_looping(before + run * 3)


@given(st.lists(st.integers(), unique=True))
def test_what_never_repeats_never_loops(tokens: list[int]) -> None:
    assert not is_looping(tokens)
