"""Options that several commands share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from espeer.config import default_data


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which node a command talks to, and how it prints.

    :ivar data: the node's data folder (or $ESPEER_HOME).
    :ivar json: print one line of JSON.
    """

    data: Annotated[Path, Parameter(show_default=False, help="the node's data folder (or $ESPEER_HOME).")] = field(
        default_factory=default_data
    )
    json: Annotated[bool, Parameter(help="print one line of JSON.")] = False
