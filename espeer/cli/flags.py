"""The flags of `espeer node`, made from the table of settings."""

from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import CoercionError, Group, Parameter, Token

from espeer.settings import SETTINGS, Setting


class _NotGiven:
    """What a flag is that was not given, where None is a value that it can have."""


_NOT_GIVEN: Final = _NotGiven()
_METAVARS: Final = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH", bytes: "HEX"}
_PANELS: Final = {name: Group.create_ordered(name) for name in dict.fromkeys(setting.group for setting in SETTINGS.values())}


def _flag(setting: Setting) -> Any:
    """Describe a flag for cyclopts."""
    several = "; may be given several times" if setting.kind is tuple else ""
    described = Parameter(
        name=setting.flag,
        help=f"{setting.help.rstrip('.')}{several}.",
        group=_PANELS[setting.group],
        show_default=lambda _: _default(setting),
        metavar=_METAVARS[setting.kind] if setting.optional else None,
        negative=f"--no-{setting.flag[2:]}" if setting.kind is bool and setting.flag else (),
        converter=None if setting.kind in (bool, tuple) or setting.choices else _converter(setting),
    )
    kind = tuple[str, ...] if setting.kind is tuple else setting.kind
    return Annotated[Any if setting.optional else kind | None, described]  # None is a value of the former: see _NotGiven


def _converter(setting: Setting) -> Any:
    def convert(_: Any, tokens: list[Token]) -> Any:
        try:
            return setting.from_text(tokens[0].value)
        except ValueError as error:
            raise CoercionError(msg=f"{setting.flag} {error}") from error

    return convert


def _default(setting: Setting) -> str | None:
    """Show a default as it would be typed; "off" and "none given" go without saying."""
    if setting.default in (None, False, (), ""):
        return None
    return " ".join(setting.default) if setting.kind is tuple else str(setting.default)


def _absent(setting: Setting) -> Any:
    """What a flag is that was not given."""
    return _NOT_GIVEN if setting.optional else None


def given(flags: Any) -> dict[str, Any]:
    """Return the flags that were given, by setting."""
    values = {one.name: getattr(flags, one.name) for one in fields(flags)}
    return {name: value for name, value in values.items() if value is not _absent(SETTINGS[name])}


if TYPE_CHECKING:  # a type checker cannot know a class that is made from a table
    Flags = Any
else:
    Flags = Parameter(name="*")(
        make_dataclass(
            "Flags",
            [(one.name, _flag(one), field(default=_absent(one))) for one in SETTINGS.values() if one.flag],
            frozen=True,
            kw_only=True,
            namespace={"__module__": __name__},
        )
    )
    """What was given on the command line: a field for each setting that has a flag."""
NO_FLAGS: Final[Any] = Flags() if not TYPE_CHECKING else None
