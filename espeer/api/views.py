"""The JSON forms of what a node tells: the same in the control protocol, over HTTP and behind every ``--json``."""

from dataclasses import asdict
from typing import cast

from espeer import transfer
from espeer.answers import GivenAnswer, UsedExperience
from espeer.api import forms
from espeer.inference import Answer, Choice
from espeer.lifecycle.refiner import Outcome, Proposal
from espeer.lifecycle.runs import Run, Undone, Why
from espeer.p2p import ticket
from espeer.p2p.addresses import Reach, parse_peer
from espeer.p2p.swarm import PeerView
from espeer.records import Experience, peer_id
from espeer.replica import Held, Hit
from espeer.status import Learnt, Retracted, Status
from espeer.timing import Timing
from espeer.transfer import ExportPage, Imported


def experience(id: str, value: Experience) -> forms.Experience:
    """Show an experience; its author is a peer id."""
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


def hit(value: Hit) -> forms.Hit:
    """Show a recalled experience with its score."""
    return {
        **experience(value.id, value.experience),
        "score": round(value.score, 4),
        "coverage": round(value.coverage, 4),
        "peer": value.peer,
    }


def held(value: Held) -> forms.Held:
    """Show an experience with its place in the replica."""
    if value.experience is None:
        return {"id": value.id, "text": None, "state": value.state, "via": value.via, "by": value.by}
    return {**experience(value.id, value.experience), "state": value.state, "via": value.via, "by": value.by}


def answer(value: Answer) -> forms.Answer:
    """Show an answer."""
    return {
        "id": value.id,
        "answer": value.text,
        "type": value.type,
        "confidence": None if value.confidence is None else round(value.confidence, 4),
        "finish": value.finish,
        "ttft_ms": round(value.ttft_ms, 1),
        "timing": timing(value.timing),
        "experiences": [hit(used) for used in value.experiences],
        "unreached": list(value.unreached),
    }


def timing(value: Timing) -> forms.Timing:
    """Show where the time to a first token went."""
    return cast("forms.Timing", {part: round(spent, 1) for part, spent in asdict(value).items()})


def choice(value: Choice) -> forms.Choice:
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


def learnt(value: Learnt) -> forms.Learnt:
    """Show what became of something learnt."""
    return {"interaction": value.interaction, "experience": value.experience}


def peer(value: PeerView) -> forms.Peer:
    """Show a connected peer."""
    return {
        "peer_id": value.peer_id,
        "addresses": list(value.addresses),
        "types": list(value.types),
        "mesh": list(value.mesh),
        "score": value.score,
    }


def outcome(value: Outcome) -> forms.Outcome:
    """Show what a refinement run came to."""
    return cast("forms.Outcome", asdict(value) | {"seconds": round(value.seconds, 1)})


def proposal(value: Proposal) -> forms.Proposal:
    """Show a group that a run would deal with."""
    return cast("forms.Proposal", asdict(value) | {"weakest": round(value.weakest, 3)})


def run(value: Run) -> forms.Run:
    """Show a refinement run."""
    return cast("forms.Run", asdict(value))


def undone(value: Undone) -> forms.Undone:
    """Show what undoing a run came to."""
    return cast("forms.Undone", asdict(value))


def why(value: Why) -> forms.Standing:
    """Show where an experience stands and how it came to that."""
    shown = held(value.held) | {
        "by": held(value.by) if value.by else None,
        "sources": [held(source) for source in value.sources],
        "stands_for": [held(other) for other in value.stands_for],
        "steps": [asdict(step) for step in value.steps],
        "received": value.received,
        "uses": [asdict(use) for use in value.uses],
    }
    return cast("forms.Standing", shown)


def given(value: GivenAnswer) -> forms.Given:
    """Show an answer that was given, and what came of it."""
    return {
        "id": value.asked.id,
        "created": value.asked.created,
        "question": value.asked.query,
        "answer": value.asked.response,
        "feedback": value.asked.feedback,
        "good": value.good,
        "experiences": [_used(used) for used in value.used],
        "learnt": _used(value.learnt) if value.learnt else None,
    }


def _used(value: UsedExperience) -> forms.UsedOnce:
    known = held(value.held) if value.held else {"id": value.id, "text": None, "state": None, "via": None}
    return cast("forms.UsedOnce", known | {"by": held(value.by) if value.by else None})


def retracted(value: Retracted) -> forms.Retracted:
    """Show what was taken back."""
    return {"experience": value.experience, "retraction": value.retraction}


def page(value: ExportPage) -> forms.Page:
    """Show a page of an export."""
    return {"records": [transfer.fields(signed) for signed in value.records], "next": value.next}


def imported(value: Imported) -> forms.Imported:
    """Show what became of imported lines."""
    return cast("forms.Imported", asdict(value))


def invitation(text: str) -> forms.Invitation:
    """Show a ticket and what it says; not the key, only whether there is one."""
    said = ticket.decode(text)
    return {
        "ticket": text,
        "network": said.network,
        "private": said.key is not None,
        "addresses": list(said.addresses),
        "types": list(said.types),
        "local": all(parse_peer(address).reach is Reach.MACHINE for address in said.addresses),
    }


def status(value: Status) -> forms.Status:
    """Show how a node is doing; the shares of the methods among its own experiences are its distillation rates."""
    total = sum(value.methods.values())
    rates = {method: round(number / total, 4) for method, number in value.methods.items()}
    records = [{"type": type_, "state": state, "records": number} for type_, state, number in value.records]
    return cast("forms.Status", asdict(value) | {"records": records, "method_rates": rates})
