"""What a refinement does: which experiences belong together, and what becomes of them (pure; paper section 3, "backend").

Experiences that are alike are grouped; for each group there is one :class:`Plan`: one member stands for its duplicates, or the
members are condensed into one new text. Members that answer the same question otherwise are outvoted, and the condensate says
so.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from espeer.lifecycle.essence import (
    Essence,
    answer_terms,
    conflict,
    note,
    noted,
    overlap,
    question_and_answer,
    without_note,
)

SAME_QUESTION: Final = 0.5
"""Two texts answer the same question when the cosine of their questions' sets of terms is at least this."""

OTHERWISE_ALIKE: Final = 0.5
"""A number or a name is the difference between two answers when so much of the shorter one's other terms is in the longer."""

OTHER_ANSWER: Final = 0.25
"""Two answers are different when at most this share of the shorter one's terms is in the longer."""

HALF_LIFE_DAYS: Final = 30.0
"""An experience that is not used loses half of its recency in so many days."""

WEIGHT_RECENCY: Final = 1.0
WEIGHT_USES: Final = 1.0
WEIGHT_CORROBORATION: Final = 0.5

_DAY_MS: Final = 24 * 3600 * 1000
_FINE: Final = 2**40  # similarities are summed as whole numbers of this fineness: so the order of the pairs does not matter
_CONDENSED_SHARE: Final = 0.5  # of its sources' bytes a condensate has, as measured with the default model

_ARTICLES: Final = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """An experience that may be grouped.

    :ivar authors: public keys: of its author, or of the authors of what a condensate was made of.
    :ivar created: milliseconds since the Unix epoch.
    :ivar sources: how many original experiences it stands for: 1 for a plain one.
    """

    key: str
    text: str
    authors: frozenset[bytes]
    created: int
    sources: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A text as a question and what it answers, taken apart once to be compared often."""

    whole: Essence
    question: Essence
    answer: Essence

    @classmethod
    def of(cls, text: str) -> "Claim":
        """Take a text apart; the note behind a condensate is no part of it."""
        bare = without_note(text)
        question, answer = question_and_answer(bare)
        return cls(Essence(bare), Essence(question), Essence(answer))


@dataclass(frozen=True, slots=True)
class Group:
    """Experiences that belong together.

    :ivar members: the hub first, then by falling similarity to it.
    :ivar similarities: of each member to the hub, on the scale of the pairs; the hub's own is left out.
    """

    members: tuple[str, ...]
    similarities: tuple[float, ...]

    @property
    def hub(self) -> str:
        """The member that all others are alike to."""
        return self.members[0]

    @property
    def weakest(self) -> float:
        """The least similarity of a member to the hub."""
        return self.similarities[-1]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a group, or of those members that come first.

    :ivar members: the experiences that one will stand for. Members of the group that are not among them stay as they are.
    :ivar survivor: the member that stands for the others, its duplicates; None if they are to be condensed.
    :ivar winners: the members whose texts are condensed, the hub first if it is one of them; none where one survives.
    :ivar note: is put behind the condensate; "" if nobody says otherwise.
    """

    members: tuple[str, ...]
    survivor: str | None = None
    winners: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the use of an experience.

    :ivar created: when it came, milliseconds since the Unix epoch.
    :ivar last_used: when an answer last rested on it, likewise; None if never.
    :ivar good, bad: how often such an answer was called good, and bad.
    :ivar corroboration: distinct authors behind it, at least 1.
    """

    key: str
    created: int
    last_used: int | None
    good: int
    bad: int
    corroboration: int


# -- grouping


def may_join(a: Claim, b: Claim) -> bool:
    """Whether two experiences may be put into one, however alike their words are.

    Not if each names a code that the other lacks, nor if their questions differ in a number of the same unit, a name or a
    negation: then they are about different things. What says the same may always be put together.
    """
    if a == b:
        return True
    if a.whole.codes - b.whole.codes and b.whole.codes - a.whole.codes:
        return False
    return not conflict(a.question, b.question, whole_a=a.whole, whole_b=b.whole, alike=0.0)


def groups(
    pairs: Iterable[tuple[str, str, float]], candidates: Mapping[str, Candidate], *, max_size: int, max_sources: int
) -> list[Group]:
    """Group what is alike by star clustering (Aslam, Pelekhov and Rus 2004, "The star clustering algorithm").

    The experience with most free neighbours becomes a hub (of equals the one with the higher total similarity, then the lesser
    key) and takes its most similar free neighbours; so on with those that are left. Single linkage would chain A~B~C into one
    group where A and C have nothing in common; in a star every member is alike to the hub. The outcome does not depend on the
    order of the pairs. It takes O(E log E) for E pairs.

    :param pairs: two keys and their similarity, all at least the threshold. Given more than once, the highest counts.
    :param max_size: the most members of a group, at least 2.
    :param max_sources: the most original experiences that a group's members stand for together.
    :returns: groups of at least two members that :func:`may_join` each other, none in two groups, in the order of their hubs.
    """
    claims: dict[str, Claim] = {}

    def claim(key: str) -> Claim:
        if key not in claims:
            claims[key] = Claim.of(candidates[key].text)
        return claims[key]

    neighbours: dict[str, dict[str, float]] = {}
    for (a, b), similarity in _highest(pairs).items():
        fits = candidates[a].sources + candidates[b].sources <= max_sources
        if fits and may_join(claim(a), claim(b)):
            neighbours.setdefault(a, {})[b] = similarity
            neighbours.setdefault(b, {})[a] = similarity
    # A hub's rank only falls as its neighbours are taken: a rank from the heap that is out of date is put back as it is now.
    ranks = {key: [len(near), sum(map(_whole, near.values()))] for key, near in neighbours.items()}
    heap = [(-number, -total, key) for key, (number, total) in ranks.items()]
    heapq.heapify(heap)
    found = []
    while heap:
        number, total, hub = heapq.heappop(heap)
        if hub not in ranks or not ranks[hub][0]:
            continue
        if [-number, -total] != ranks[hub]:
            heapq.heappush(heap, (-ranks[hub][0], -ranks[hub][1], hub))
            continue
        members = [hub]
        sources = candidates[hub].sources
        for key in sorted(neighbours[hub].keys() & ranks.keys(), key=lambda key: (-neighbours[hub][key], key)):
            if len(members) == max_size:
                break
            joins = all(may_join(claim(key), claim(member)) for member in members[1:])
            if joins and sources + candidates[key].sources <= max_sources:
                members.append(key)
                sources += candidates[key].sources
        found.append(Group(tuple(members), tuple(neighbours[hub][key] for key in members[1:])))
        for member in members:
            del ranks[member]
        for member in members:
            for key in neighbours[member].keys() & ranks.keys():
                ranks[key][0] -= 1
                ranks[key][1] -= _whole(neighbours[member][key])
    return found


def _highest(pairs: Iterable[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    highest: dict[tuple[str, str], float] = {}
    for a, b, similarity in pairs:
        pair = (a, b) if a < b else (b, a)
        if a != b and similarity > highest.get(pair, -math.inf):
            highest[pair] = similarity
    return highest


def _whole(similarity: float) -> int:
    return round(similarity * _FINE)


# -- what becomes of a group


def plan(group: Group, candidates: Mapping[str, Candidate]) -> Plan:
    """Say what becomes of a group.

    Where members contradict each other the best supported answer wins: most distinct authors, then most original experiences,
    then the newest; members of other answers are superseded with it, but not condensed. Where all agree, duplicates are dealt
    with first, as that takes no model; what is left of the group then is grouped again.
    """
    claims = {key: Claim.of(candidates[key].text) for key in group.members}
    camps = _camps(claims)
    if not any(camps) and len(same := _duplicates({key: candidates[key].text for key in group.members})) > 1:
        return Plan(same, survivor=min(same, key=lambda key: _support_of_one(candidates[key])))
    beaten = set()
    if camps:
        best = max(camps, key=lambda camp: _support([candidates[key] for key in camp]))
        beaten = {key for camp in camps if camp is not best for key in camp}
    winners = tuple(key for key in group.members if key not in beaten)
    total = sum(candidates[key].sources for key in group.members)
    agreeing = sum(_agreeing(candidates[key]) for key in winners)
    return Plan(group.members, winners=winners, note=note(agreeing, total))


def bytes_saved(plan: Plan, candidates: Mapping[str, Candidate]) -> int:
    """Estimate by how many UTF-8 bytes the texts become less."""
    sizes = {key: len(candidates[key].text.encode()) for key in plan.members}
    if plan.survivor is not None:
        return sum(sizes.values()) - sizes[plan.survivor]
    condensed = [sizes[key] for key in plan.winners]
    return sum(sizes.values()) - max(*condensed, round(_CONDENSED_SHARE * sum(condensed))) - len(plan.note)


def contradict(a: Claim, b: Claim) -> bool:
    """Whether two texts answer the same question differently.

    Their answers have different numbers or names in like words, or one denies what the other says, or they have almost no terms
    in common. An answer that only adds to the other does not contradict it. Another word for the same thing cannot be told from
    another thing: "push the button" and "press the switch" contradict each other; "swap the red relay" and "swap the blue
    relay", or "open" and "close", do not. No text contradicts itself.
    """
    if a == b:
        return False
    if bool(a.question.stems) != bool(b.question.stems):
        return False
    if a.question.stems and _cosine(a.question.stems, b.question.stems) < SAME_QUESTION:
        return False
    if conflict(a.answer, b.answer, whole_a=a.whole, whole_b=b.whole, alike=OTHERWISE_ALIKE):
        return True
    said_a, said_b = answer_terms(a.answer, a.question), answer_terms(b.answer, b.question)
    both_answer = bool(a.question.stems and said_a and said_b)
    return both_answer and overlap(said_a, said_b) <= OTHER_ANSWER


def duplicate(a: str, b: str) -> bool:
    """Whether two texts are the same but for spaces, articles, punctuation behind words and the case of words.

    The case of units and codes and every other sign count: 5 mW is not 5 MW, and ">3" not "<3".
    """
    return _folded(a) == _folded(b)


def _folded(text: str) -> list[str]:
    words = [word.rstrip(".,;:!?") for word in without_note(text).split()]
    folded = [word.casefold() if len(word) > 1 and (word.islower() or word.istitle()) else word for word in words]
    return [word for word in folded if word and word not in _ARTICLES]


def _camps(claims: Mapping[str, Claim]) -> list[list[str]]:
    """Part those that are in a contradiction by their answers; the others belong to none."""
    keys = list(claims)
    disputed = [key for key in keys if any(contradict(claims[key], claims[other]) for other in keys if other != key)]
    camps: list[list[str]] = []
    for key in disputed:
        for camp in camps:
            if not any(contradict(claims[key], claims[other]) for other in camp):
                camp.append(key)
                break
        else:
            camps.append([key])
    return camps


def _duplicates(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the largest set of duplicates of one text; of equals that which comes first."""
    folded = {key: _folded(text) for key, text in texts.items()}
    sets = [tuple(other for other in texts if folded[key] == folded[other]) for key in texts]
    return max(sets, key=len)


def _support(camp: Sequence[Candidate]) -> tuple[int, int, int]:
    agreeing = sum(map(_agreeing, camp))
    authors = frozenset[bytes]().union(*(candidate.authors for candidate in camp))
    return min(len(authors), agreeing), agreeing, max(candidate.created for candidate in camp)


def _support_of_one(candidate: Candidate) -> tuple[int, int, str]:
    """The best supported comes first."""
    return -candidate.sources, -candidate.created, candidate.key


def _agreeing(candidate: Candidate) -> int:
    """How many original experiences say what a text says: a condensate of contradictory ones has noted it."""
    said = noted(candidate.text)
    return candidate.sources if said is None else max(1, min(said, candidate.sources))


def _cosine(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / math.sqrt(len(a) * len(b)) if a and b else 0.0


# -- what there is no room for


def usefulness(standing: Standing, *, now_ms: int) -> float:
    """Return how much an experience is worth keeping: a weighted sum, about -2 to 4 in practice.

    - recency: 1 now, half of it for every :data:`HALF_LIFE_DAYS` since it was last used or, if never, came;
    - uses: the logarithm of 1 + (good - bad), negative if it did more harm than good;
    - corroboration: the logarithm of the number of authors, 0 for one.
    """
    idle_ms = max(0, now_ms - max(standing.created, standing.last_used or 0))
    recency = math.exp2(-idle_ms / (HALF_LIFE_DAYS * _DAY_MS))
    balance = standing.good - standing.bad
    uses = math.copysign(math.log1p(abs(balance)), balance)
    corroboration = math.log(max(1, standing.corroboration))
    return WEIGHT_RECENCY * recency + WEIGHT_USES * uses + WEIGHT_CORROBORATION * corroboration


def least_useful(standings: Iterable[Standing], *, now_ms: int, excess: int) -> list[str]:
    """Return the keys of the ``excess`` least useful experiences, the least useful first; of equals the lesser key."""
    ranked = heapq.nsmallest(excess, ((usefulness(standing, now_ms=now_ms), standing.key) for standing in standings))
    return [key for _, key in ranked]
