"""All that can be set about `espeer node`, in one table: flags, variables, keys of the file, help and defaults come from it.

The settings are the fields of :class:`espeer.Config` and of :class:`Service`; their help is what the docstrings say of them.
A setting ``kv_cache_mb`` is the flag ``--kv-cache-mb``, the variable ``ESPEER_KV_CACHE_MB`` and the key ``kv_cache_mb``.
"""

import json
import re
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from espeer.config import Config

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]  # as in espeer.log, which takes a while to import


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What can be set about the process around a node: HTTP, the log.

    :ivar join_file: a file with the ticket to join by, mode 0600.
    :ivar http: IP:PORT to answer HTTP on: dashboard, OpenAI-compatible endpoint, native API. "auto" is 127.0.0.1:7741, or one
        of the next ports where that is taken; "off" is no HTTP at all. Any other address than this machine's own needs a key.
    :ivar http_key: the key that HTTP clients must show. Secret.
    :ivar http_key_file: a file with the key that HTTP clients must show, mode 0600.
    :ivar http_names: names that HTTP clients call this node by, beside localhost and IP addresses.
    :ivar log_level: the least that is logged.
    :ivar log_format: "human", "json", or "auto": for people on a terminal, lines of JSON otherwise.
    """

    join_file: Path | None = None
    http: str = "auto"
    http_key: str = field(default="", repr=False)
    http_key_file: Path | None = None
    http_names: tuple[str, ...] = ()
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"


GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Joining": ("bootstrap", "join", "join_file", "network", "private", "psk", "psk_file", "types"),
    "Network": ("listen", "announce", "allow", "deny", "relays", "relay_service", "mdns", "offline", "repair_interval"),
    "Roles": ("role", "servers", "ask_peers", "recall_seconds"),
    "Model and answers": (
        "model",
        "threads",
        "context",
        "kv_cache_mb",
        "kv_disk_mb",
        "recall",
        "answer_tokens",
        "answer_seconds",
        "capture",
        "warming",
        "language",
        "k1",
        "b",
    ),
    "Learning": ("learning", "episode_size", "episode_age"),
    "Refining": ("refining", "refine_after", "refine_scale", "refine_threshold", "max_records", "max_bytes"),
    "HTTP": ("http", "http_key", "http_key_file", "http_names"),
    "Files and log": ("data", "log_level", "log_format"),
}
_OTHERS: Final = "Others"
_SECRETS: Final = frozenset({"join", "psk", "http_key"})
_NO_FLAG: Final = frozenset({"psk", "http_key"})  # everybody on the machine can read a command line
_FLAGS: Final = {"types": "type", "servers": "server", "relays": "relay", "psk_file": "psk", "http_names": "http-name"}
_VARIABLES: Final = {"data": "ESPEER_DATA_FOLDER"}  # ESPEER_DATA is the folder of the experiments' data sets
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
NONE: Final = "none"
"""How to write, where a setting may be None, that it is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set.

    :ivar name: its key in the file, and the field of its class.
    :ivar kind: the type of its values: bool, int, float, str, bytes, Path, tuple (of str) or a Literal.
    :ivar optional: whether it may be None.
    :ivar default: its value where nobody gives one; None for :attr:`data`, whose default depends on the environment.
    :ivar owner: the class that it is a field of.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    help: str
    owner: type

    @property
    def group(self) -> str:
        """The heading that it stands under."""
        return next((group for group, names in GROUPS.items() if self.name in names), _OTHERS)

    @property
    def secret(self) -> bool:
        """Whether it is never shown."""
        return self.name in _SECRETS

    @property
    def flag(self) -> str | None:
        """The flag of `espeer node`, or None for a secret that has no business on a command line."""
        return None if self.name in _NO_FLAG else f"--{_FLAGS.get(self.name, self.name.replace('_', '-'))}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return _VARIABLES.get(self.name, f"ESPEER_{self.name.upper()}")

    @property
    def wanted(self) -> str:
        """What to give, in words."""
        if self.choices:
            said = f"one of {', '.join(self.choices)}"
        else:
            said = {
                bool: "true or false",
                int: "a whole number",
                float: "a number",
                tuple: "a list of texts",
                bytes: "hexadecimal digits",
                Path: "a path",
            }.get(self.kind, "a text")
        return f'{said}, or "{NONE}"' if self.optional else said

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values that it can have, if there are such."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    def from_text(self, text: str) -> Any:
        """Read a value from a variable or a flag. Lists are separated by commas; no element of any can hold one.

        :raises ValueError: it is no such value; the message says what to give.
        """
        if self.kind is tuple:
            return tuple(part for part in map(str.strip, text.split(",")) if part)
        if not text and self.name != "join":  # what comes of an `espeer invite` that failed; the node says so
            raise ValueError(f"is empty; give {self.wanted}")
        if self.kind is bool and text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        if self.kind in (int, float):
            try:
                return self._checked(int(text) if self.kind is int or re.fullmatch(r"[-+]?\d+", text) else float(text))
            except ValueError:
                pass
        return self._checked(text)

    def from_toml(self, value: Any, folder: Path) -> Any:
        """Read a value from a file that lies in ``folder``: relative paths are relative to it.

        :raises ValueError: it is no such value; the message says what to give.
        """
        return self._checked(value, folder)

    def _checked(self, value: Any, folder: Path | None = None) -> Any:
        if value == NONE and self.optional:
            return None
        try:
            made = self.choices[self.choices.index(value)] if self.choices else _made(self.kind, value)
        except ValueError as error:
            if isinstance(value, dict):  # can be nested deeper than json goes
                shown, table = "a table", "; the file has no [tables]"
            else:
                shown = "not what it can be" if self.secret else json.dumps(value, default=str, ensure_ascii=False)[:80]
                table = ""
            raise ValueError(f"is {shown}; give {self.wanted}{table}") from error
        return folder / made if folder and self.kind is Path else made

    def written(self, value: Any) -> str:
        """Write a value as TOML."""
        if value is None:
            return f'"{NONE}"'
        if self.kind is bytes:
            return json.dumps(value.hex())
        if self.kind is tuple:
            return json.dumps(list(value), ensure_ascii=False)
        return json.dumps(str(value) if self.kind is Path else value, ensure_ascii=False)


_TAKEN: Final[dict[Any, tuple[type, ...]]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    tuple: (list,),
    bytes: (str,),
    Path: (str,),
}
"""For each kind, the types of TOML that it is made of; a bool is no int here."""


def _made(kind: Any, value: Any) -> Any:
    """Make a value of that kind.

    :raises ValueError: that cannot be.
    """
    fits = type(value) in _TAKEN[kind]
    fits = fits and (kind is not tuple or all(isinstance(part, str) for part in value))
    if not fits or (kind is Path and not value):
        raise ValueError(value)
    if kind is bytes:
        return bytes.fromhex(value)
    if kind is Path:
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # ~ of a user who is not there
            raise ValueError(value) from error
    return kind(value)


def _settings(owner: type) -> dict[str, Setting]:
    told = _told(owner)
    hints = get_type_hints(owner)
    return {one.name: _setting(one, hints[one.name], told.get(one.name, ""), owner) for one in fields(owner)}


def _setting(one: Field[Any], hint: Any, told: str, owner: type) -> Setting:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    optional = NoneType in get_args(hint)
    kind = kinds[0] if optional else hint
    default = None if one.default is MISSING else one.default
    return Setting(one.name, tuple if get_origin(kind) is tuple else kind, optional, default, told, owner)


def _told(owner: type) -> dict[str, str]:
    """What a class's docstring says of each of its fields."""
    found = re.findall(r":ivar (\w+): (.*?)(?=\n\s*:|\Z)", owner.__doc__ or "", re.DOTALL)
    return {name: " ".join(text.replace("``", "").split()) for name, text in found}


def _sorted(found: dict[str, Setting]) -> dict[str, Setting]:
    order = [name for names in GROUPS.values() for name in names]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


SETTINGS: Final = _sorted(_settings(Config) | _settings(Service))
"""All settings by name, in the order in which they are shown."""
