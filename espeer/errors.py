"""Every error espeer raises on purpose, in one tree.

::

    EspeerError
     ├─ ConfigError            a setting that cannot be used
     ├─ InputError             text from the caller that cannot be taken
     │   └─ NotFound               what it names is not here
     ├─ RecordError            a record that is refused
     │   ├─ MalformedRecord        not the canonical bytes of a record
     │   ├─ RecordTooLarge         over a size limit
     │   ├─ BadSignature           not signed by its author
     │   ├─ FromTheFuture          created too far ahead of our clock
     │   ├─ UnknownVersion         of a version that this espeer does not read
     │   └─ TypeNotHeld            of a type this replica does not hold
     ├─ StoreError             the data folder
     │   ├─ StoreInUse             another process holds it
     │   ├─ StoreVersionError      written by a newer espeer
     │   ├─ StoreDamaged           not a database, or a broken one
     │   └─ StoreFull              no room left on the disk
     ├─ ModelError             the language model
     │   ├─ ModelNotFound          no such file, package or hub entry
     │   ├─ ModelUnreadable        llama.cpp cannot load it
     │   ├─ PromptTooLong          does not fit the model's context
     │   ├─ ModelTimeout           no answer in the time that it was given
     │   └─ QueueFull              too many requests wait already
     ├─ NetworkError           libp2p
     │   ├─ BadAddress             not a usable multiaddr
     │   ├─ AddressInUse           cannot listen there
     │   └─ ProtocolError          a peer broke the protocol
     │       ├─ FrameTooLarge          it announced more bytes than a frame may have
     │       ├─ Flooding               it does too much at a time
     │       ├─ BrokenPromise          it does not give what it said it has
     │       └─ SlowReader             it does not take what it is sent
     └─ ControlError           talking to a running node
         ├─ NodeNotRunning         no node on that data folder
         └─ RemoteError            the node answered with an error

The message of each is one line for a person: what is wrong, and what to do about it.
"""


class EspeerError(Exception):
    """Base of all errors that espeer raises on purpose."""


class ConfigError(EspeerError):
    """A setting that cannot be used."""


class InputError(EspeerError):
    """Text from the caller that cannot be taken: empty, too long, not UTF-8."""


class NotFound(InputError):
    """What the caller names is not here: no such experience, answer or run."""


class RecordError(EspeerError):
    """A record that is refused; nothing of it is stored."""


class MalformedRecord(RecordError):
    """Bytes that are not the canonical encoding of a record."""


class RecordTooLarge(RecordError):
    """A record over one of the size limits."""


class BadSignature(RecordError):
    """A record that its author did not sign."""


class FromTheFuture(RecordError):
    """A record created further ahead of our clock than clocks may differ."""


class UnknownVersion(RecordError):
    """A record of a version that this espeer does not read; a newer one may."""


class TypeNotHeld(RecordError):
    """A record of a type that this replica does not hold."""


class StoreError(EspeerError):
    """The data folder cannot be used."""


class StoreInUse(StoreError):
    """Another process holds the data folder."""


class StoreVersionError(StoreError):
    """The data folder was written by a newer espeer."""


class StoreDamaged(StoreError):
    """The database file is broken, or not a database."""


class StoreFull(StoreError):
    """No room left on the disk; what was acknowledged before is safe."""


class ModelError(EspeerError):
    """The language model cannot do what was asked."""


class ModelNotFound(ModelError):
    """No such model file, package or hub entry."""


class ModelUnreadable(ModelError):
    """llama.cpp cannot load the file."""


class PromptTooLong(ModelError):
    """The prompt and its answer do not fit the model's context."""


class ModelTimeout(ModelError):
    """The model had not begun to answer when the time for it was over."""


class QueueFull(ModelError):
    """Too many requests already wait for the model."""


class NetworkError(EspeerError):
    """The peer-to-peer part cannot do what was asked."""


class BadAddress(NetworkError):
    """Not a multiaddr that espeer can use."""


class AddressInUse(NetworkError):
    """The listening address is taken or not ours."""


class ProtocolError(NetworkError):
    """A peer broke the protocol; the stream it came on is reset."""


class FrameTooLarge(ProtocolError):
    """A peer announced more bytes than a frame may have."""


class Flooding(ProtocolError):
    """A peer opened more streams, or sent more in one message, than anybody needs to."""


class BrokenPromise(ProtocolError):
    """A peer does not give what it said it has."""


class SlowReader(ProtocolError):
    """A peer does not take what it is sent."""


class ControlError(EspeerError):
    """Talking to a running node failed."""


class NodeNotRunning(ControlError):
    """No node runs on that data folder."""


class RemoteError(ControlError):
    """The node answered with an error."""
