"""Options that several commands share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import CoercionError, Parameter, Token

from espeer.sources import choose


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts would round 1.5."""
    try:
        return int(tokens[0].value)
    except ValueError as error:
        raise CoercionError(msg=f"{tokens[0].value!r} is not a whole number") from error


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number."""

Json = Annotated[bool, Parameter(help="print one line of JSON.")]

ConfigFile = Annotated[
    Path | None,
    Parameter(name="--config", help="file with settings, instead of $ESPEER_CONFIG or the user's own (see `espeer config`)."),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which node a command talks to, and how it prints."""

    folder: Annotated[
        Path | None, Parameter(name="--data", help="the node's data folder; by default that of the settings.")
    ] = None
    config: ConfigFile = None
    json: Json = False

    @property
    def data(self) -> Path:
        """The node's data folder.

        :raises ConfigError: none is named, and the settings cannot be used.
        """
        return self.folder if self.folder is not None else choose(self.config).data


DEFAULT_TARGET: Final = Target()
"""The node of the settings, and a print for people."""
