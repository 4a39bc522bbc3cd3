"""What can be set about a node."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from espeer.errors import ConfigError, InputError
from espeer.places import data_folder
from espeer.records import is_type
from espeer.scale import Scale, check_threshold
from espeer.tokens import Tokenizer

Role = Literal["peer", "server", "client"]
"""What a node is to others: see :class:`Config`."""

MAX_TYPES = 64
MAX_SERVERS = 16
KEY_SIZE = 32
DEFAULT_NETWORK = "main"
DEFAULT_TYPES = ("general",)
DEFAULT_LISTEN = ("/ip4/127.0.0.1/tcp/0",)
_OF_A_REPLICA = ("refine_after", "refine_scale", "refine_threshold", "max_records", "max_bytes", "k1", "b")
_LEAST = (
    ("threads", 1),
    ("context", 256),
    ("kv_cache_mb", 0),
    ("kv_disk_mb", 0),
    ("recall", 0),
    ("answer_tokens", 1),
    ("episode_size", 1),
    ("refine_after", 1),
    ("max_records", 1),
    ("max_bytes", 16 * 1024),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one node; every one has a default that works.

    :ivar data: the data folder: identity, store, control socket. One node at a time. By default that of $ESPEER_HOME, or the
        platform's own place for a user's data.
    :ivar model: a GGUF file, ``hf:OWNER/REPO/FILE.gguf``, or ``fake`` (no weights, for tests); with none, the default model,
        SmolLM2-135M-Instruct.
    :ivar types: the topic types that the node holds and shares; with none, those of the ticket it joined by, or ``general``.
    :ivar network: only nodes of the same network name exchange anything; without one, the network that the data folder
        belongs to, or ``main``. A folder belongs to one network for ever.
    :ivar join: a ticket (of ``espeer invite``) to join a network by; the data folder remembers it, so that only the first
        start needs it. Secret.
    :ivar private: make a key for the network, if the data folder has none: only nodes that are invited can connect.
    :ivar psk_file: a file with the key of a private network, in the form that all of libp2p uses, mode 0600.
    :ivar psk: the key itself, 32 bytes. Secret.
    :ivar listen: multiaddrs to listen on. Port 0 takes a free one.
    :ivar announce: multiaddrs that others are told instead of ``listen``, where a router or a name stands before the node,
        such as /dns4/node.example.org/tcp/4001.
    :ivar bootstrap: multiaddrs (with ``/p2p/PEER``) of nodes to join through.
    :ivar allow: peer ids; if there are any, only these peers are talked to.
    :ivar deny: peer ids of peers that are never talked to.
    :ivar relays: multiaddrs (with ``/p2p/PEER``) of relays to be reached through, from behind a NAT; ``auto`` has the node
        ask the peers that it dials for one.
    :ivar relay_service: be such a relay for others, within bounds.
    :ivar mdns: look for nodes of the network on the LAN, and be found there.
    :ivar offline: no network at all.
    :ivar role: "peer" holds a replica and a model; "server" does, too, and takes the experiences that clients submit; "client"
        holds no replica: it submits what it learns to a server, and has the server recall.
    :ivar servers: a client's servers, as ``bootstrap``; the first that answers is used. By default those of the ticket.
    :ivar ask_peers: have questions that name no type go to peers that hold other types, too. A question leaves the node then.
    :ivar recall_seconds: how long other nodes may take to recall; after that the answer goes on without them.
    :ivar learning: distil what was learnt; without it that waits for the next node on the folder that does.
    :ivar threads: threads for the model; with none, what the machine has.
    :ivar context: tokens of the model's context; with none, the model's own, up to 4,096.
    :ivar kv_cache_mb: megabytes of memory for what the model worked out for experiences and prompts (their KV states); with 0
        every prompt is evaluated as a whole.
    :ivar kv_disk_mb: megabytes of disk, in the data folder, for those that there is no room for in memory; 0 for none.
    :ivar recall: how many experiences go into a prompt, at most.
    :ivar answer_tokens: the most tokens of an answer. With a small context it is as many as there is room for.
    :ivar answer_seconds: the most seconds that an answer may take; then it ends with what is there. With none, no end.
    :ivar capture: keep questions and answers on disk, so that feedback can be given to them; they never leave the node.
    :ivar warming: in idle time, work out for the model what experiences that are likely to be recalled will need.
    :ivar episode_size: an episode is closed when it has this many interactions.
    :ivar episode_age: an episode is closed this many seconds after its last interaction.
    :ivar repair_interval: seconds between repair rounds with a random peer.
    :ivar refining: refine the replica in idle time, and keep it within its budget.
    :ivar refine_after: refine when so many records are new since the last time.
    :ivar refine_scale: how alike experiences are, "normalised" (0 to 1) or "raw" (the paper's BM25 scores).
    :ivar refine_threshold: experiences at least so alike on that scale are condensed into one.
    :ivar max_records: the most active experiences; over it, the least useful are evicted after refining.
    :ivar max_bytes: the most bytes of all experiences that are kept, superseded ones too; beyond it these go first.
    :ivar k1: BM25's: how soon more occurrences of a term stop to matter.
    :ivar b: BM25's: how much long texts are held back, 0 to 1.
    :ivar language: the Snowball language whose words are reduced to their stems, such as "german"; none for no language.
    :raises ConfigError: a setting cannot be used.
    """

    data: Path = field(default_factory=data_folder)
    model: str | None = None
    types: tuple[str, ...] = ()
    network: str = ""
    join: str = field(default="", repr=False)
    private: bool = False
    psk_file: Path | None = None
    psk: bytes | None = field(default=None, repr=False)
    listen: tuple[str, ...] = DEFAULT_LISTEN
    announce: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    relay_service: bool = False
    mdns: bool = False
    offline: bool = False
    role: Role = "peer"
    servers: tuple[str, ...] = ()
    ask_peers: bool = False
    recall_seconds: float = 1.0
    learning: bool = True
    threads: int | None = None
    context: int | None = None
    kv_cache_mb: int = 128
    kv_disk_mb: int = 512
    recall: int = 3
    answer_tokens: int = 128
    answer_seconds: float | None = None
    capture: bool = True
    warming: bool = True
    episode_size: int = 4
    episode_age: float = 30.0
    repair_interval: float = 20.0
    refining: bool = True
    refine_after: int = 200
    refine_scale: Scale = "normalised"
    refine_threshold: float = 0.6
    max_records: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    k1: float = 1.5
    b: float = 0.75
    language: str | None = "english"

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the setting's name."""
        object.__setattr__(self, "data", Path(self.data))  # apps give a str as well
        if len(self.types) > MAX_TYPES or len(set(self.types)) != len(self.types):
            raise ConfigError(f"types: give up to {MAX_TYPES} different ones")
        for name in self.types:
            if not is_type(name):
                raise ConfigError(f"type {name!r} is not 1 to 32 of a-z, 0-9 and '-'")
        if self.psk is not None and len(self.psk) != KEY_SIZE:
            raise ConfigError(f"psk has {len(self.psk)} bytes; a network's key has {KEY_SIZE}")
        if self.network and not is_type(self.network):
            raise ConfigError(f"network {self.network!r} is not 1 to 32 of a-z, 0-9 and '-'")
        for name, least in _LEAST:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name.replace('_', '-')} is {value}; the least is {least}")
        for name in ("episode_age", "repair_interval", "recall_seconds", "answer_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name.replace('_', '-')} must be a number of seconds above 0")
        self._check_role()
        if self.refine_scale not in get_args(Scale):
            raise ConfigError(f"refine-scale is {self.refine_scale!r}; give {' or '.join(get_args(Scale))}")
        try:
            check_threshold(self.refine_threshold, self.refine_scale)
        except InputError as error:
            raise ConfigError(f"refine-threshold: {error}") from error
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise ConfigError("k1 must be at least 0, and b from 0 to 1")
        Tokenizer(language=self.language)

    def _check_role(self) -> None:
        if self.role not in get_args(Role):
            raise ConfigError(f"role is {self.role!r}; give one of {', '.join(get_args(Role))}")
        if self.role != "client":
            if self.servers:
                raise ConfigError("a server's address is for a client: give --role client with --server")
            return
        for name in _OF_A_REPLICA:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ConfigError(
                    f"a client holds no experiences: leave out {name.replace('_', '-')}, which its server is given"
                )
        if len(self.servers) > MAX_SERVERS:
            raise ConfigError(f"servers: give up to {MAX_SERVERS}")
        if self.bootstrap or self.mdns or self.relays or self.relay_service:
            raise ConfigError("a client talks to its servers alone: leave out bootstrap, mdns, relay and relay-service")
        if self.announce or self.listen != DEFAULT_LISTEN:
            raise ConfigError("a client does not listen: leave out listen and announce")
        if self.offline:
            raise ConfigError("a client has nothing to recall without its server; leave out offline, or the role")
