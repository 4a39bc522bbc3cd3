"""The JSON forms of what a node tells: the same in the control protocol and behind every ``--json``."""

from dataclasses import asdict
from typing import Any

from espeer.inference import Answer, Choice
from espeer.lifecycle.refiner import Outcome, Proposal
from espeer.lifecycle.runs import Run, Undone, Why
from espeer.p2p import ticket
from espeer.p2p.addresses import Reach, parse_peer
from espeer.p2p.swarm import PeerView
from espeer.records import Experience, peer_id
from espeer.replica import Held, Hit
from espeer.status import Learnt, Status

Json = dict[str, Any]


def experience(id: str, value: Experience | None) -> Json:
    """Show an experience; its author is a peer id. Of one whose data was freed there is only the id."""
    if value is None:
        return {"id": id, "text": None}
    return {
        "id": id,
        "type": value.type,
        "text": value.text,
        "author": peer_id(value.author),
        "created": value.created,
        "model": value.model,
        "method": value.method,
        "sources": [source.hex() for source in value.sources],
    }


def hit(value: Hit) -> Json:
    """Show a recalled experience with its score."""
    score = {"score": round(value.score, 4), "coverage": round(value.coverage, 4), "peer": value.peer}
    return experience(value.id, value.experience) | score


def held(value: Held) -> Json:
    """Show an experience with its place in the replica."""
    return experience(value.id, value.experience) | {"state": value.state, "via": value.via, "by": value.by}


def answer(value: Answer) -> Json:
    """Show an answer."""
    return {
        "id": value.id,
        "answer": value.text,
        "type": value.type,
        "confidence": None if value.confidence is None else round(value.confidence, 4),
        "finish": value.finish,
        "ttft_ms": round(value.ttft_ms, 1),
        "experiences": [hit(used) for used in value.experiences],
        "unreached": list(value.unreached),
    }


def choice(value: Choice) -> Json:
    """Show a choice."""
    return {
        "index": value.index,
        "choice": value.text,
        "confidence": round(value.confidence, 4),
        "probabilities": [round(share, 4) for share in value.probabilities],
        "method": value.method,
        "elapsed_ms": round(value.elapsed_ms, 1),
        "experiences": [hit(used) for used in value.experiences],
        "unreached": list(value.unreached),
    }


def learnt(value: Learnt) -> Json:
    """Show what became of something learnt."""
    return asdict(value)


def peer(value: PeerView) -> Json:
    """Show a connected peer."""
    return asdict(value)


def outcome(value: Outcome) -> Json:
    """Show what a refinement run came to."""
    return asdict(value) | {"seconds": round(value.seconds, 1)}


def proposal(value: Proposal) -> Json:
    """Show a group that a run would deal with."""
    return asdict(value) | {"weakest": round(value.weakest, 3)}


def run(value: Run) -> Json:
    """Show a refinement run."""
    return asdict(value)


def undone(value: Undone) -> Json:
    """Show what undoing a run came to."""
    return asdict(value)


def why(value: Why) -> Json:
    """Show where an experience stands and how it came to that."""
    return held(value.held) | {
        "by": held(value.by) if value.by else None,
        "sources": [held(source) for source in value.sources],
        "stands_for": [held(other) for other in value.stands_for],
        "steps": [asdict(step) for step in value.steps],
    }


def invitation(text: str) -> Json:
    """Show a ticket and what it says; not the key, only whether there is one."""
    said = ticket.decode(text)
    return {
        "ticket": text,
        "network": said.network,
        "private": said.key is not None,
        "addresses": said.addresses,
        "types": said.types,
        "local": all(parse_peer(address).reach is Reach.MACHINE for address in said.addresses),
    }


def status(value: Status) -> Json:
    """Show how a node is doing; the shares of the methods among its own experiences are its distillation rates."""
    total = sum(value.methods.values())
    rates = {method: round(number / total, 4) for method, number in value.methods.items()}
    records = [{"type": type_, "state": state, "records": number} for type_, state, number in value.records]
    return asdict(value) | {"records": records, "method_rates": rates}
