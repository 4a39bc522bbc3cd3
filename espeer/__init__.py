"""espeer: a language model on every device, and what one learns, all know.

::

    async with espeer.Node(espeer.Config(types=("pumps",))) as node:
        await node.learn("Pump P7 shows E42 when cold.", feedback="Purging the line for 40 s cured it.")
        answer = await node.ask("P7 says E42, what now?")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from espeer.asking import AskOptions
from espeer.config import Config
from espeer.conversation import Turn
from espeer.errors import (
    AddressInUse,
    BadAddress,
    BadSignature,
    BrokenPromise,
    ConfigError,
    ControlError,
    EspeerError,
    Flooding,
    FrameTooLarge,
    FromTheFuture,
    InputError,
    MalformedRecord,
    ModelError,
    ModelNotFound,
    ModelTimeout,
    ModelUnreadable,
    NetworkError,
    NodeNotRunning,
    NotFound,
    PromptTooLong,
    ProtocolError,
    QueueFull,
    RecordError,
    RecordTooLarge,
    RemoteError,
    SlowReader,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreVersionError,
    TypeNotHeld,
    UnknownVersion,
)

if TYPE_CHECKING:
    from espeer.answers import GivenAnswer, UsedExperience
    from espeer.backup import Backup
    from espeer.inference import Answer, AnswerStream, Choice
    from espeer.lifecycle.refiner import Outcome, Proposal
    from espeer.lifecycle.runs import Run, Step, Undone, Why
    from espeer.llm.fake import FakeModel
    from espeer.llm.shared import shared_model
    from espeer.node import Node
    from espeer.p2p.swarm import PeerView
    from espeer.records import Experience
    from espeer.replica import Held, Hit
    from espeer.sources import load_config
    from espeer.status import Learnt, Retracted, Status
    from espeer.transfer import ExportPage, Imported, Refusal

__all__ = [
    "AddressInUse",
    "Answer",
    "AnswerStream",
    "AskOptions",
    "Backup",
    "BadAddress",
    "BadSignature",
    "BrokenPromise",
    "Choice",
    "Config",
    "ConfigError",
    "ControlError",
    "EspeerError",
    "Experience",
    "ExportPage",
    "FakeModel",
    "Flooding",
    "FrameTooLarge",
    "FromTheFuture",
    "GivenAnswer",
    "Held",
    "Hit",
    "Imported",
    "InputError",
    "Learnt",
    "MalformedRecord",
    "ModelError",
    "ModelNotFound",
    "ModelTimeout",
    "ModelUnreadable",
    "NetworkError",
    "Node",
    "NodeNotRunning",
    "NotFound",
    "Outcome",
    "PeerView",
    "PromptTooLong",
    "Proposal",
    "ProtocolError",
    "QueueFull",
    "RecordError",
    "RecordTooLarge",
    "Refusal",
    "RemoteError",
    "Retracted",
    "Run",
    "SlowReader",
    "Status",
    "Step",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreVersionError",
    "Turn",
    "TypeNotHeld",
    "Undone",
    "UnknownVersion",
    "UsedExperience",
    "Why",
    "load_config",
    "shared_model",
]

# libp2p takes a second to import, and most commands of the command line do not need it: these wait until they are asked for
_LAZY = {
    "Answer": "espeer.inference",
    "AnswerStream": "espeer.inference",
    "Backup": "espeer.backup",
    "Choice": "espeer.inference",
    "Experience": "espeer.records",
    "ExportPage": "espeer.transfer",
    "FakeModel": "espeer.llm.fake",
    "GivenAnswer": "espeer.answers",
    "Held": "espeer.replica",
    "Hit": "espeer.replica",
    "Imported": "espeer.transfer",
    "Learnt": "espeer.status",
    "Node": "espeer.node",
    "Outcome": "espeer.lifecycle.refiner",
    "PeerView": "espeer.p2p.swarm",
    "Proposal": "espeer.lifecycle.refiner",
    "Refusal": "espeer.transfer",
    "Retracted": "espeer.status",
    "Run": "espeer.lifecycle.runs",
    "Status": "espeer.status",
    "Step": "espeer.lifecycle.runs",
    "Undone": "espeer.lifecycle.runs",
    "UsedExperience": "espeer.answers",
    "Why": "espeer.lifecycle.runs",
    "load_config": "espeer.sources",
    "shared_model": "espeer.llm.shared",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'espeer' has no attribute {name!r}")
