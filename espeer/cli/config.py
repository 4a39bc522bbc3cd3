"""`espeer config show|init|check`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cyclopts import App
from rich.markup import escape

from espeer import places
from espeer.api.http.settings import of_service
from espeer.cli.flags import NO_FLAGS, Flags, given
from espeer.cli.options import ConfigFile, Json
from espeer.cli.show import console, print_json, print_unfolded, table
from espeer.errors import ConfigError
from espeer.settings import SETTINGS, Setting
from espeer.sources import choose

app = App(name="config", help="See the settings, and where they come from; begin a file of them.")
_HIDDEN: Final = "(given, not shown)"
_BEGINNING: Final = """\
# Settings of espeer. Each line that begins with "# " and a name shows a default: remove the "# " to change it.
# A flag of `espeer node` goes before a variable, and a variable (ESPEER_KV_CACHE_MB) before this file.
# See `espeer config show --origin` for what is used, `espeer config check` for whether this file is right.
# Relative paths are relative to this file; "none" is no value.
"""


@app.command
def show(*, flags: Flags = NO_FLAGS, config: ConfigFile = None, origin: bool = False, json: Json = False) -> None:
    """Show every setting as `espeer node` with the same flags would use it. Secrets are not shown.

    Example: espeer config show --origin

    :param origin: tell where each comes from: a flag, a variable, a line of the file, or the default.
    """
    chosen = choose(config, flags=given(flags))
    chosen.config()  # what cannot be used together is told here, too
    rows = [(setting, chosen.value(setting), chosen.origin(setting)) for setting in SETTINGS.values()]
    if json:
        file = str(chosen.file) if chosen.file else None
        shown = {
            setting.name: {"value": _plain(setting, value), **({"origin": where} if origin else {})}
            for setting, value, where in rows
        }
        print_json({"file": file, "settings": shown})
        return
    made = table("setting", "value", *(["from"] if origin else []))
    for setting, value, where in rows:
        written = setting.written(value) if not (setting.secret and value) else _HIDDEN
        made.add_row(setting.name, escape(written), *([escape(where)] if origin else []))
    print_unfolded(made)
    console.print(escape(f"file: {chosen.file or f'none ({places.config_file()} is not there)'}"), style="dim")


@app.command
def init(*, path: Path | None = None, json: Json = False) -> None:
    """Write a file with all settings, their defaults and what they mean; never over a file that is there.

    Example: espeer config init --path ./espeer.toml

    :param path: where to; by default $ESPEER_CONFIG, or where `espeer` looks for it by itself.
    """
    named = os.environ.get(places.CONFIG)
    place = (path or (Path(named) if named else places.config_file())).expanduser()
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # secrets may be written into it
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in _lines())
    except OSError as error:
        if os.path.lexists(place):
            raise ConfigError(f"{place} is there already; edit it, or give --path another name") from error
        raise ConfigError(f"cannot write {place}: {error.strerror}; give --path another place") from error
    if json:
        print_json({"file": str(place)})
    else:
        console.print(escape(f"wrote {place}"))


@app.command
def check(file: Path | None = None, /, *, json: Json = False) -> None:
    """Say whether a file of settings can be used, with the variables that are set; what cannot ends it with exit code 1.

    Example: espeer config check ./espeer.toml

    :param file: by default the one that `espeer node` would read.
    """
    from espeer.doctor.network import unusable  # noqa: PLC0415 - no other verb needs it

    chosen = choose(file)
    config = chosen.config()
    of_service(chosen.service())
    for name, said in unusable(config):
        raise ConfigError(f"{said} ({name} is set in {chosen.origin(SETTINGS[name])})")
    if json:
        print_json({"file": str(chosen.file) if chosen.file else None, "settings": len(chosen.values)})
    else:
        console.print(escape(f"{chosen.file or 'no file'}: fine; settings given, in all: {len(chosen.values)}"))


def _plain(setting: Setting, value: Any) -> Any:
    """A value for JSON."""
    if setting.secret and value:
        return _HIDDEN
    return list(value) if setting.kind is tuple else str(value) if isinstance(value, Path) else value


def _lines() -> Iterator[str]:
    yield from _BEGINNING.splitlines()
    group = ""
    for setting in SETTINGS.values():
        if setting.group != group:
            group = setting.group
            yield from ("", f"## {group}")
        yield ""
        yield from _folded(setting)
        value = setting.default
        if setting.name == "data":
            value = places.data_folder()
        yield f"# {setting.name} = {setting.written(value)}"


def _folded(setting: Setting) -> Iterator[str]:
    import textwrap  # noqa: PLC0415 - for this verb alone

    told = f"{setting.help[:1].upper()}{setting.help[1:]}"
    choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
    yield from textwrap.wrap(told + choices, width=100, initial_indent="#: ", subsequent_indent="#: ", break_on_hyphens=False)
