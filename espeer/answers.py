"""An answer that was given, and what came of it."""

from dataclasses import dataclass

from espeer.errors import NotFound
from espeer.interaction import Interaction
from espeer.replica import Held, Replica
from espeer.store import MAX_ROW, Store


@dataclass(frozen=True, slots=True)
class UsedExperience:
    """An experience that stood in an answer's prompt.

    :ivar id: hexadecimal.
    :ivar held: as it stands now; None if another node told it and it is not known here.
    :ivar by: the experience that stands for it now.
    """

    id: str
    held: Held | None
    by: Held | None


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer that was given.

    :ivar asked: the question, the answer and the feedback.
    :ivar good: how the answer was rated; None if it was not.
    :ivar used: the experiences that stood in the prompt.
    :ivar learnt: the experience that its feedback went into, once there is one.
    """

    asked: Interaction
    good: bool | None
    used: tuple[UsedExperience, ...]
    learnt: UsedExperience | None


def answer_asked(store: Store, number: int) -> Interaction:
    """Return the interaction of an answer.

    :raises NotFound: there is no answer of that number.
    """
    known = store.interaction(number) if 0 < number <= MAX_ROW else None
    if known is None or known.source != "answer":
        raise NotFound(f"there is no answer {number}; `espeer ask` prints the number with its answer")
    return known


def note_feedback(store: Store, number: int, feedback: str, *, good: bool | None) -> tuple[Interaction, bool | None]:
    """Note what became of an answer. There is something to learn from a text, and from a good answer without experiences.

    :returns: the interaction, and whether that is news; see :meth:`espeer.store.Store.set_feedback`.
    :raises NotFound: there is no answer of that number.
    """
    with store.lock:
        asked = answer_asked(store, number)
        ready = bool(feedback) or (good is True and not store.was_augmented(number))
        return asked, store.set_feedback(number, feedback=feedback, good=good, ready=ready)


def given(store: Store, replica: Replica | None, number: int) -> GivenAnswer:
    """Tell of an answer.

    :param replica: None on a client, which holds no experiences.
    :raises NotFound: there is no answer of that number.
    """
    with store.lock:
        asked = answer_asked(store, number)
        made = store.experience_of(number)
        return GivenAnswer(
            asked,
            store.rating(number),
            tuple(_used(replica, id_) for id_ in store.used_for(number)),
            None if made is None else _used(replica, made),
        )


def _used(replica: Replica | None, id_: bytes) -> UsedExperience:
    key = id_.hex()
    held = replica.show(key) if replica is not None and replica.store.state(id_) is not None else None
    return UsedExperience(key, held, replica.show(held.by) if replica is not None and held is not None and held.by else None)
