"""Where the settings come from: flag, then variable, then file, then default."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from espeer import ownfile, places
from espeer.config import Config
from espeer.errors import ConfigError
from espeer.settings import SETTINGS, Service, Setting

DEFAULT: Final = "default"
_PREFIX: Final = "ESPEER_"
_NO_SETTINGS: Final = frozenset({places.HOME, places.CONFIG, "ESPEER_DATA"})
"""Variables that say something else: where files are, and where the experiments' data sets are."""
_OF_A_SERVICE: Final = re.compile(r"ESPEER_(SERVICE|PORT)(_|$)")
"""Kubernetes gives these to all containers beside a service that is called espeer."""
_MAX_FILE: Final = 64 * 1024
_MAX_DOTS: Final = 1000
"""The most full stops in a line: tomllib takes time with the square of a key's parts."""
_OTHERS_CAN_READ: Final = 0o077


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings as they are to be used.

    :ivar values: by name; of :data:`espeer.settings.SETTINGS` those that somebody gave.
    :ivar origins: where each of them comes from: ``--flag``, ``$VARIABLE`` or ``file:line``.
    :ivar file: the file that was read, if there is one.
    :ivar data_default: the data folder where none is given.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    file: Path | None
    data_default: Path

    @property
    def data(self) -> Path:
        """The data folder."""
        folder: Path = self.value(SETTINGS["data"])
        return folder

    def value(self, setting: Setting) -> Any:
        """Return what a setting is."""
        if setting.name in self.values:
            return self.values[setting.name]
        return self.data_default if setting.name == "data" else setting.default

    def origin(self, setting: Setting) -> str:
        """Return where that comes from."""
        return self.origins.get(setting.name, DEFAULT)

    def config(self, **overrides: Any) -> Config:
        """Return the node's settings.

        :raises ConfigError: they cannot be used; the message says where those that it names come from.
        """
        given = {name: value for name, value in self.values.items() if SETTINGS[name].owner is Config}
        try:
            return Config(**({"data": self.data} | given | overrides))
        except ConfigError as error:
            raise ConfigError(f"{error}{self._blame(str(error), overrides)}") from error

    def service(self) -> Service:
        """Return the settings of what is around the node."""
        return Service(**{name: value for name, value in self.values.items() if SETTINGS[name].owner is Service})

    def _blame(self, message: str, overrides: Mapping[str, Any]) -> str:
        """Tell where the settings that a message names come from, but for flags: those the user has before him."""
        found = []
        for name, origin in self.origins.items():
            words = {name, name.replace("_", "-"), (SETTINGS[name].flag or "").removeprefix("--")} - {""}
            named = any(re.search(rf"(?<![\w-])(--)?{word}(?![\w-])", message) for word in words)
            if named and name not in overrides and not origin.startswith("--"):
                found.append(f"{name} is set in {origin}")
        return f" ({', '.join(found)})" if found else ""


def choose(file: Path | None = None, *, flags: Mapping[str, Any] | None = None, env: Mapping[str, str] = os.environ) -> Chosen:
    """Put the settings together.

    :param file: the file to read, instead of ``$ESPEER_CONFIG`` or the user's own.
    :param flags: values that were given on the command line, by setting.
    :raises ConfigError: a key or a variable is not known, or has a value that it cannot have; the file cannot be read.
    """
    path = _file(file, env)
    values, origins = read(path) if path else ({}, {})
    for variable, text in sorted(env.items()):
        if variable.startswith(_PREFIX) and variable not in _NO_SETTINGS and not _OF_A_SERVICE.match(variable):
            setting = _by_variable(variable)
            values[setting.name], origins[setting.name] = _from_variable(setting, text), f"${variable}"
    for name, value in (flags or {}).items():
        values[name], origins[name] = value, SETTINGS[name].flag or "flag"
    if "data" not in values and env.get(places.HOME):
        origins["data"] = f"${places.HOME}"
    return Chosen(values, origins, path, places.data_folder(env))


def load_config(path: Path | None = None, *, env: Mapping[str, str] = os.environ, **overrides: Any) -> Config:
    """Read a node's settings as `espeer node` does: from the environment, then from a file, then the defaults.

    :param path: the file, instead of ``$ESPEER_CONFIG`` or the user's own.
    :param overrides: fields of :class:`Config` that are known already.
    :raises ConfigError: a setting is not known or cannot be used, or the file cannot be read.
    """
    chosen = choose(path, env=env)
    ticket = ticket_from(chosen.service())
    return chosen.config(**(({"join": ticket} if ticket else {}) | overrides))


def ticket_from(service: Service) -> str:
    """Return the ticket in ``join_file``, or nothing where there is none.

    :raises ConfigError: the file cannot be read, others can read it, or it is empty.
    """
    return secret(service.join_file, "the line that `espeer invite` prints") if service.join_file else ""


def secret(path: Path, what: str) -> str:
    """Return what a file holds that is its user's alone.

    :raises ConfigError: it cannot be read, others can read it, it is empty or not ASCII.
    """
    try:
        text = ownfile.read(path, _MAX_FILE).decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; it is to hold {what}") from error
    except UnicodeError as error:
        raise ConfigError(f"{path} holds something else than {what}") from error
    if not text:
        raise ConfigError(f"{path} is empty; it is to hold {what}")
    return text


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file: what it sets, and at which line.

    :raises ConfigError: it cannot be read, is not TOML, or holds something that is not a setting's value; the message names
        the first such thing, and tells how many there are.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    text = _text(path)
    for key, value in _parsed(path, text).items():
        if wrong and key not in SETTINGS:
            wrong.append(key)  # is only counted
            continue
        where = f"{path}:{_line(text, key)}"
        try:
            setting = SETTINGS[key]
        except KeyError:
            wrong.append(f"{where}: {key if key.isprintable() else ascii(key)} is not a setting{_suggested(key, SETTINGS)}")
            continue
        try:
            values[key] = setting.from_toml(value, path.absolute().parent)
            origins[key] = where
        except ValueError as error:
            wrong.append(f"{where}: {key} {error}")
    if wrong:
        more = f" (and {len(wrong) - 1} more such faults)" if len(wrong) > 1 else ""
        raise ConfigError(wrong[0] + more)
    secrets = [key for key in values if SETTINGS[key].secret]
    if secrets and path.stat().st_mode & _OTHERS_CAN_READ:
        raise ConfigError(f"{path} holds a secret ({secrets[0]}) and can be read by others; run: chmod 600 {path}")
    return values, origins


def _file(given: Path | None, env: Mapping[str, str]) -> Path | None:
    if given is not None:
        return given.expanduser()
    if places.CONFIG in env:
        if not env[places.CONFIG]:
            raise ConfigError(f"the variable {places.CONFIG} is empty; give it a path (/dev/null for no file), or unset it")
        return Path(env[places.CONFIG]).expanduser()
    usual = places.config_file(env)
    return usual if usual.is_file() else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the settings in {path}: {error.strerror}") from error
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{path} is no file of settings: it has more than {_MAX_FILE:,} bytes")
    try:
        return data.decode()
    except UnicodeError as error:
        raise ConfigError(f"{path} is not UTF-8") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise ConfigError(f"{path} has a line with more than {_MAX_DOTS:,} full stops; write lists on several lines")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        where = f"{path}:{found[1]}" if found else str(path)
        raise ConfigError(f"{where}: not TOML: {error}") from error
    except ValueError as error:  # not TOML's own: a number of thousands of digits
        raise ConfigError(f"{path} holds a number that nothing can be set to") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested far too deep") from error


def _line(text: str, key: str) -> int:
    """The line at which a key stands, counted from 1. tomllib does not tell; a table's name counts, too."""
    pattern = re.compile(rf"""[\[\s]*+["']?{re.escape(key)}["']?\s*+[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def _by_variable(variable: str) -> Setting:
    known = {setting.variable: setting for setting in SETTINGS.values()}
    if variable not in known:
        raise ConfigError(f"the variable {variable} sets nothing{_suggested(variable, [*known, *_NO_SETTINGS])}; unset it")
    return known[variable]


def _from_variable(setting: Setting, text: str) -> Any:
    try:
        return setting.from_text(text)
    except ValueError as error:
        raise ConfigError(f"the variable {setting.variable} {error}, or unset it") from error


def _suggested(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "; `espeer config show` lists them all"
