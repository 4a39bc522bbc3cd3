"""From a TOML table to a dataclass: every key known, every value of its type and within its bounds (pure)."""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from espeer.errors import ConfigError

T = TypeVar("T")

MAX_FILE: Final = 256 * 1024
"""The most bytes of a scenario."""

_MAX_SHOWN: Final = 40
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_KINDS: Final = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def number(least: float, most: float, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds a number from ``least`` to ``most``; without a default it must be given."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def numbers(least: float, most: float, longest: int, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds at most ``longest`` numbers, each as for :func:`number`."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most, "longest": longest})


def text(pattern: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds a string that matches ``pattern`` as a whole."""
    return dataclasses.field(default=default, metadata={"pattern": pattern})


def texts(pattern: str, most: int, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds at most ``most`` strings, each as for :func:`text`."""
    return dataclasses.field(default=default, metadata={"pattern": pattern, "longest": most})


def parse(document: str, read: Callable[[Mapping[str, Any]], T], *, quick: bool) -> T:
    """Read a file that may have a smaller form of itself: what ``[quick]`` holds stands in place of what the rest says.

    :param read: makes something of the file's table.
    :param quick: take the smaller form. Both are read in any case, so that a fault in either shows.
    :raises ConfigError: the document is not TOML, or ``read`` refuses it.
    """
    if len(document) > MAX_FILE:
        raise ConfigError(f"a scenario has at most {MAX_FILE:,} bytes")
    try:
        table = tomllib.loads(document)
        smaller = table.pop("quick", {})
        if not isinstance(smaller, Mapping):
            raise ConfigError("quick is not a table")
        full = read(table)
        small = _in_quick_form(read, _merged(table, smaller))
    except ValueError as error:
        raise ConfigError(f"not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError("tables or lists are nested far too deep") from error
    return small if quick else full


def _in_quick_form(read: Callable[[Mapping[str, Any]], T], table: Mapping[str, Any]) -> T:
    try:
        return read(table)
    except ConfigError as error:
        raise ConfigError(f"in the quick form: {error}") from error


def _merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another: tables are merged, all else is replaced."""
    merged = dict(table)
    for key, value in over.items():
        below = table.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def build(cls: type[T], table: Any, path: str) -> T:
    """Make a ``cls`` of a table; ``path`` is the table's name in the file, for the error message.

    :raises ConfigError: a key is unknown or missing, or a value is not of its type or out of its bounds.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path} is not a table")
    kinds = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type] # all of ours are dataclasses
    for key in table:
        if key not in fields:
            name = _join(path, key if _BARE.fullmatch(key) else _shown(key))
            raise ConfigError(f"{name} is not known; {path or 'the file'} may hold {', '.join(fields)}")
    for name, field in fields.items():
        if name not in table and field.default is dataclasses.MISSING:
            raise ConfigError(f"{_join(path, name)} is missing")
    return cls(**{key: _value(kinds[key], value, fields[key].metadata, _join(path, key)) for key, value in table.items()})


def _value(kind: Any, value: Any, rules: Mapping[str, Any], path: str) -> Any:
    if get_origin(kind) is UnionType:  # X | None: TOML has no null, so a value is an X
        kind = get_args(kind)[0]
    if get_origin(kind) is tuple:
        return _list(get_args(kind)[0], value, rules, path)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, path)
    if kind is float and type(value) is int and abs(value) <= rules["most"]:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{path} is {_shown(value)}; give {_KINDS[kind]}")
    if "least" in rules and not rules["least"] <= value <= rules["most"]:
        raise ConfigError(f"{path} is {_shown(value)}; give {rules['least']:g} to {rules['most']:g}")
    if "pattern" in rules and re.fullmatch(rules["pattern"], value) is None:
        raise ConfigError(f"{path} is {_shown(value)}; give what matches {rules['pattern']}")
    return value


def _list(kind: Any, value: Any, rules: Mapping[str, Any], path: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > rules["longest"]:
        raise ConfigError(f"{path} is {_shown(value)}; give a list of at most {rules['longest']}")
    return tuple(_value(kind, item, rules, f"{path}[{place}]") for place, item in enumerate(value))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:  # a whole number of thousands of digits
        shown = "a very large number"
    return shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "…"
