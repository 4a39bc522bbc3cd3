"""From a TOML table to a dataclass: every key known, every value of its type and within its bounds (pure)."""

import dataclasses
import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from espeer.errors import ConfigError

T = TypeVar("T")

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
