"""The `espeer` command: the verbs, and what becomes of errors."""

import importlib.metadata
import sys
import traceback
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from espeer.cli.ask import ask, feedback
from espeer.cli.backup import backup, restore
from espeer.cli.config import app as config
from espeer.cli.demo import demo
from espeer.cli.experiences import app as experiences
from espeer.cli.invite import invite
from espeer.cli.learn import learn
from espeer.cli.look import id_, peers, recall, status
from espeer.cli.mcp import mcp
from espeer.cli.model import app as model
from espeer.cli.node import node
from espeer.cli.records import export, import_, retract
from espeer.cli.refine import refine
from espeer.cli.sim import app as sim
from espeer.cli.why import why
from espeer.errors import EspeerError

USAGE_ERROR = 2
INTERRUPTED = 130


def _shown(default: Any) -> str | None:
    """Show a default as it would be typed; "off" and "none given" go without saying."""
    if default in (None, False, ()):
        return None
    return " ".join(default) if isinstance(default, tuple) else str(default)


app = App(
    name="espeer",
    help="A language model on every device, and what one learns, all know.",
    help_epilogue="Exit codes: 0 done, 1 it failed (one line says why), 2 wrong usage, 130 interrupted.",
    version=lambda: importlib.metadata.version("espeer"),
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=_shown),
    exit_on_error=False,
    print_error=False,
    help_on_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(node)
app.command(ask)
app.command(feedback)
app.command(invite)
app.command(learn)
app.command(recall)
app.command(peers)
app.command(status)
app.command(id_, name="id")
app.command(experiences)
app.command(why)
app.command(retract)
app.command(refine)
app.command(export)
app.command(import_, name="import")
app.command(backup)
app.command(restore)
app.command(mcp)
app.command(model)
app.command(config)
app.command(demo)
app.command(sim)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[bool, Parameter(help="Show a traceback where something fails.")] = False,
) -> int:
    tokens = _joined_by_stdin(tokens)
    if "-" in tokens and "--" not in tokens:  # to cyclopts it would be an option without a name
        tokens = (*(part for part in tokens if part != "-"), "--", "-")
    try:
        app(tokens)
    except CycloptsError as error:
        return _fail(_one_line(str(error)) + "; see `espeer --help`", USAGE_ERROR)
    except EspeerError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `espeer ... | head`
        sys.stderr.close()
        return 1
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line for the user, the rest with --debug
        if debug:
            traceback.print_exc()
        return _fail(f"unexpected {type(error).__name__}: {_one_line(str(error))}; run it again with --debug and report it", 1)
    return 0


def _joined_by_stdin(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """``--join -`` as one token, because of what :func:`_launch` does with ``-``."""
    place = tokens.index("--join") + 1 if "--join" in tokens else len(tokens)
    if tokens[place : place + 1] != ("-",):
        return tokens
    return (*tokens[: place - 1], "--join=-", *tokens[place + 1 :])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str, code: int) -> int:
    print(f"espeer: {message}", file=sys.stderr)  # noqa: T201 - this is the command line's voice
    return code


def main() -> None:
    """Run the command line."""
    sys.exit(app.meta())


if __name__ == "__main__":
    main()
