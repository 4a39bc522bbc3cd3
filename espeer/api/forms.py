"""What a node's answers look like in JSON: each field with what it means, for type checkers and for OpenAPI.

:mod:`espeer.api.views` makes them.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes the one of the standard library only from Python 3.12 on

from espeer.asking import Ending
from espeer.lifecycle.choice import Method
from espeer.scale import Scale

Id = Annotated[str, Field(description="The record's id: SHA-256, hexadecimal.")]
PeerId = Annotated[str, Field(description="A libp2p peer id, base58.")]
TypeName = Annotated[str, Field(description="A topic type.")]
Author = Annotated[str, Field(description="Peer id of the node that learnt it.")]
Created = Annotated[int, Field(description="Milliseconds since the Unix epoch, by the author's clock.")]
Writer = Annotated[str, Field(description="The language model that was at work.")]
HowMade = Annotated[str, Field(description='How the text came about: "distilled", "retried", "extractive" or "condensed".')]
Sources = Annotated[list[str], Field(description="Ids of the experiences that a condensate stands for.")]
State = Annotated[str, Field(description='"active" (recall sees it), "superseded", "evicted", "retracted" or "undone".')]
Via = Annotated[str, Field(description='The way it came, such as "own", "gossip", "sync" or "refined".')]
TextLeft = Annotated[str | None, Field(description="What was learnt; null where it was freed.")]
RunNumber = Annotated[int, Field(description="A refinement run's number.")]
Unreached = Annotated[
    list[str], Field(description="Topic types that could not be recalled: nobody who holds them answered in time.")
]


class Experience(TypedDict):
    """An experience: what a node distilled from something that happened."""

    id: Id
    type: TypeName
    text: Annotated[str, Field(description="What was learnt.")]
    author: Author
    created: Created
    model: Writer
    method: HowMade
    sources: Sources


class Hit(Experience):
    """A recalled experience."""

    score: Annotated[float, Field(description="Its BM25 score for the query.")]
    coverage: Annotated[float, Field(description="The share of the query's terms that it holds, 0 to 1.")]
    peer: Annotated[str | None, Field(description="Peer id of who told it; null if it is held here.")]


Used = Annotated[list[Hit], Field(description="The experiences in the prompt, best first.")]


class Held(TypedDict):
    """An experience with its place in the replica. It may have been freed: then its text, and where it came from, are gone."""

    id: Id
    type: NotRequired[TypeName]
    text: TextLeft
    author: NotRequired[Author]
    created: NotRequired[Created]
    model: NotRequired[Writer]
    method: NotRequired[HowMade]
    sources: NotRequired[Sources]
    state: State
    via: Via
    by: Annotated[str | None, Field(description="Id of the experience that stands for a superseded one.")]


class Step(TypedDict):
    """What a refinement run did to one experience."""

    run: RunNumber
    before: Annotated[str, Field(description='Its state before; "" if the run made it.')]
    after: Annotated[str, Field(description="Its state after.")]
    undone: Annotated[bool, Field(description="Whether the run was taken back.")]


class Use(TypedDict):
    """An answer that an experience was in the prompt of."""

    answer: Annotated[int, Field(description="The answer's number.")]
    at: Annotated[int, Field(description="When it was given, in milliseconds since the Unix epoch.")]
    question: Annotated[str, Field(description="What was asked.")]
    good: Annotated[bool | None, Field(description="How it was rated; null if it was not.")]


class Standing(TypedDict):
    """Where an experience stands, and how it came to that; of a freed one its text, and where it came from, are gone."""

    id: Id
    type: NotRequired[TypeName]
    text: TextLeft
    author: NotRequired[Author]
    created: NotRequired[Created]
    model: NotRequired[Writer]
    method: NotRequired[HowMade]
    sources: Annotated[list[Held], Field(description="What it was condensed from, as far as it is known here.")]
    state: State
    via: Via
    by: Annotated[Held | None, Field(description="The experience that stands for it.")]
    stands_for: Annotated[list[Held], Field(description="The experiences that it supersedes.")]
    steps: Annotated[list[Step], Field(description="What refinement runs did to it, the oldest first.")]
    received: Annotated[int, Field(description="When it came here, in milliseconds since the Unix epoch.")]
    uses: Annotated[list[Use], Field(description="The latest answers that it was used in, the latest first.")]


class Timing(TypedDict):
    """Where the time to an answer's first piece went, in milliseconds."""

    recall: Annotated[float, Field(description="Finding experiences in the index here.")]
    network: Annotated[float, Field(description="Waiting for other nodes' experiences, beyond that.")]
    classify: Annotated[float, Field(description="Settling the question's topic type.")]
    pack: Annotated[float, Field(description="Putting the prompt together.")]
    queue: Annotated[float, Field(description="Until the model began with it.")]
    prefill: Annotated[float, Field(description="From there to the first piece.")]


class Answer(TypedDict):
    """An answer."""

    id: Annotated[int | None, Field(description="The interaction's number, for feedback; null where it is not kept.")]
    answer: Annotated[str, Field(description="The answer.")]
    type: Annotated[str | None, Field(description="The question's topic type, by what was recalled; null if nothing was.")]
    confidence: Annotated[
        float | None,
        Field(description="The model's own probability that it is right, 0 to 1; null without time to ask for it."),
    ]
    finish: Annotated[
        Ending, Field(description='Why it ended: "stop" (by itself, or at a stop text), "length", "loop" or "time".')
    ]
    ttft_ms: Annotated[float, Field(description="Milliseconds to its first piece.")]
    timing: Timing
    experiences: Used
    unreached: Unreached


class Choice(TypedDict):
    """Which of several choices was taken."""

    index: Annotated[int, Field(description="Its place among the choices, from 0.")]
    choice: Annotated[str, Field(description="The choice.")]
    confidence: Annotated[float, Field(description="Its share of the probability of all choices, 0 to 1.")]
    probabilities: Annotated[list[float], Field(description="Every choice's share, in their order.")]
    method: Annotated[Method, Field(description='Which of the two was scored, "letter" or "text".')]
    elapsed_ms: Annotated[float, Field(description="Milliseconds to the choice.")]
    experiences: Used
    unreached: Unreached


class UsedOnce(TypedDict):
    """An experience that had to do with an answer, as it stands now."""

    id: Id
    text: Annotated[str | None, Field(description="What was learnt; null where it was freed, or never kept here.")]
    type: NotRequired[TypeName]
    author: NotRequired[Author]
    created: NotRequired[Created]
    model: NotRequired[Writer]
    method: NotRequired[HowMade]
    sources: NotRequired[Sources]
    state: Annotated[State | None, Field(description="null if another node told it and it is not known here.")]
    via: Annotated[Via | None, Field(description="null in the same case.")]
    by: Annotated[Held | None, Field(description="The experience that stands for it since.")]


class Given(TypedDict):
    """An answer that was given, and what came of it."""

    id: Annotated[int, Field(description="Its number.")]
    created: Annotated[int, Field(description="When it was given, in milliseconds since the Unix epoch.")]
    question: Annotated[str, Field(description="What was asked.")]
    answer: Annotated[str, Field(description="What was answered.")]
    feedback: Annotated[str, Field(description='What became of it, or what is right; "" if nobody said.')]
    good: Annotated[bool | None, Field(description="How it was rated; null if it was not.")]
    experiences: Annotated[list[UsedOnce], Field(description="What stood in its prompt, in no order.")]
    learnt: Annotated[UsedOnce | None, Field(description="What its feedback went into; null if nothing was learnt yet.")]


class Retracted(TypedDict):
    """What was taken back."""

    experience: Annotated[str, Field(description="The experience's id.")]
    retraction: Annotated[str, Field(description="The id of the record that says so.")]


class Refusal(TypedDict):
    """Why a line was not taken."""

    line: Annotated[int, Field(description="Its number.")]
    reason: Annotated[str, Field(description="What is wrong with it.")]


class Imported(TypedDict):
    """What became of the lines of an import; empty ones are not counted."""

    new: Annotated[int, Field(description="Records that were not known before.")]
    known: Annotated[int, Field(description="Records that were there already.")]
    refused: Annotated[int, Field(description="Lines that were not taken.")]
    not_held: Annotated[int, Field(description="How many of these are sound, but of a type that is not held here.")]
    refusals: Annotated[list[Refusal], Field(description="The first of them.")]


class Page(TypedDict):
    """A part of an export."""

    records: Annotated[list[dict[str, Any]], Field(description="The lines; see docs/operations.md.")]
    next: Annotated[int | None, Field(description="Where the next page begins; null if this is the last.")]


class Learnt(TypedDict):
    """What became of something learnt."""

    interaction: Annotated[int, Field(description="Its number in the store.")]
    experience: Annotated[
        str | None, Field(description="Id of the experience that it went into; null while its episode is open.")
    ]


class Peer(TypedDict):
    """A connected peer."""

    peer_id: PeerId
    addresses: Annotated[list[str], Field(description="Multiaddrs where it listens, or where its connection comes from.")]
    types: Annotated[list[str], Field(description="Topic types of this network that it subscribes to.")]
    mesh: Annotated[list[str], Field(description="Topic types in whose gossip mesh this node has it.")]
    score: Annotated[float, Field(description="What it did wrong of late: 0 is good, at 100 it is banned.")]


class Outcome(TypedDict):
    """What a refinement run came to."""

    run: RunNumber
    before: Annotated[int, Field(description="Active experiences before it.")]
    after: Annotated[int, Field(description="Active experiences after it.")]
    condensed: Annotated[int, Field(description="Condensates that the model worded.")]
    extracted: Annotated[int, Field(description="Condensates put together from their sources' sentences.")]
    merged: Annotated[int, Field(description="Groups that one of their own members stands for.")]
    disputed: Annotated[int, Field(description="Condensates whose sources contradict each other.")]
    evicted: Annotated[int, Field(description="Experiences for which there was no room.")]
    freed: Annotated[int, Field(description="Bytes of superseded and retracted experiences for which there was no room.")]
    seconds: Annotated[float, Field(description="How long it took.")]


class Proposal(TypedDict):
    """A group that a refinement run would deal with."""

    type: TypeName
    members: Annotated[list[str], Field(description="Ids; the one that all are alike to comes first.")]
    texts: Annotated[list[str], Field(description="Their texts.")]
    weakest: Annotated[float, Field(description="The least likeness of a member to the first.")]
    action: Annotated[
        str, Field(description='"merge" (one of them stands for all) or "condense" (the model writes a new one).')
    ]
    bytes_saved: Annotated[int, Field(description="Bytes of active experiences' texts that it would save, estimated.")]


class Run(TypedDict):
    """A refinement run."""

    id: RunNumber
    started: Annotated[int, Field(description="When it began, in milliseconds since the Unix epoch.")]
    reason: Annotated[str, Field(description='"asked", "records" or "capacity".')]
    scale: Annotated[Scale, Field(description="The scale of the threshold.")]
    threshold: Annotated[float, Field(description="From what likeness on experiences were taken as alike.")]
    type: Annotated[str, Field(description='The topic type that it was about; "" for all.')]
    seen: Annotated[int, Field(description="The number of the newest record at its start.")]
    finished: Annotated[int | None, Field(description="When it ended, in milliseconds since the Unix epoch; null if cut off.")]
    undone: Annotated[
        int | None, Field(description="When it was taken back, in milliseconds since the Unix epoch; null if not.")
    ]
    made: Annotated[int, Field(description="Condensates that it made.")]
    superseded: Annotated[int, Field(description="Experiences that another stands for since.")]
    evicted: Annotated[int, Field(description="Experiences for which there was no room.")]


class Undone(TypedDict):
    """What taking a refinement run back came to: ids."""

    restored: Annotated[list[str], Field(description="Active or superseded as before the run.")]
    taken_back: Annotated[list[str], Field(description="Condensates that the run had made.")]
    lost: Annotated[list[str], Field(description="Could not come back: their data was freed.")]


class Invitation(TypedDict):
    """A ticket, and what it says. Of a private network it is a secret."""

    ticket: Annotated[str, Field(description="What another node joins by: espeer node --join TICKET.")]
    network: Annotated[str, Field(description="The network's name.")]
    private: Annotated[bool, Field(description="Whether the network's key is in it.")]
    addresses: Annotated[list[str], Field(description="Multiaddrs to join by.")]
    types: Annotated[list[str], Field(description="Topic types to hold.")]
    local: Annotated[bool, Field(description="Whether it leads nowhere from another machine.")]


class Count(TypedDict):
    """How many records of a topic type are in a state."""

    type: TypeName
    state: State
    records: Annotated[int, Field(description="Their number.")]


class Status(TypedDict):
    """How a node is doing."""

    version: Annotated[str, Field(description="Version of espeer.")]
    peer_id: PeerId
    addresses: Annotated[list[str], Field(description="Multiaddrs that other nodes can join by.")]
    network_name: Annotated[str, Field(description="The network's name.")]
    role: Annotated[str, Field(description='"peer", "server" or "client".')]
    private: Annotated[bool, Field(description="Whether only nodes with the network's key can connect.")]
    types: Annotated[list[str], Field(description="The topic types that it holds.")]
    model: Annotated[str, Field(description="Its language model.")]
    prompts: Annotated[int, Field(description="Version of its prompts.")]
    peers: Annotated[int, Field(description="Connected peers.")]
    records: Annotated[list[Count], Field(description="The records held.")]
    store_bytes: Annotated[int, Field(description="What the store takes on disk.")]
    methods: Annotated[dict[str, int], Field(description="How many of its own experiences came about by each method.")]
    interactions: Annotated[int, Field(description="Interactions in the store.")]
    learning: Annotated[int, Field(description="Interactions and episodes that are not distilled yet.")]
    queued: Annotated[int, Field(description="A client's experiences that no server has yet.")]
    waiting: Annotated[int, Field(description="Requests that wait for the model.")]
    waiting_by_priority: Annotated[
        dict[str, int], Field(description='The same, of each priority: "interactive", "distil", "refine", "warm".')
    ]
    busy_by_priority: Annotated[
        dict[str, float], Field(description="Seconds that the model has worked since the start, for requests of each priority.")
    ]
    engine: Annotated[
        dict[str, Any], Field(description="What the model keeps, and how often that was of use: names and numbers.")
    ]
    network: Annotated[dict[str, int], Field(description="What went over the network since the start.")]
    method_rates: Annotated[dict[str, float], Field(description="Each method's share of its own experiences, 0 to 1.")]
