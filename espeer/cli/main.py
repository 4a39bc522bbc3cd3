"""The `espeer` command: the verbs, and what becomes of errors."""

import gc
import re
import sys
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from espeer.errors import EspeerError

USAGE_ERROR = 2
INTERRUPTED = 130


def _shown(default: Any) -> str | None:
    """Show a default as it would be typed; "off" and "none given" go without saying."""
    if default in (None, False, ()):
        return None
    return " ".join(default) if isinstance(default, tuple) else str(default)


def _version() -> str:
    import importlib.metadata  # noqa: PLC0415 - takes a while, and is rarely asked for

    return importlib.metadata.version("espeer")


app = App(
    name="espeer",
    help="A language model on every device, and what one learns, all know.",
    help_epilogue="Exit codes: 0 done, 1 it failed (one line says why), 2 wrong usage, 130 interrupted.",
    version=_version,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=_shown),
    exit_on_error=False,
    print_error=False,
    help_on_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# By name: a verb's module is imported when the verb is used, or its help is asked for.
app.command("espeer.cli.node:node")
app.command("espeer.cli.ask:ask")
app.command("espeer.cli.ask:feedback")
app.command("espeer.cli.invite:invite")
app.command("espeer.cli.learn:learn")
app.command("espeer.cli.look:recall")
app.command("espeer.cli.look:peers")
app.command("espeer.cli.look:status")
app.command("espeer.cli.look:id_", name="id")
app.command("espeer.cli.experiences:app", name="experiences")
app.command("espeer.cli.why:why")
app.command("espeer.cli.records:retract")
app.command("espeer.cli.refine:refine")
app.command("espeer.cli.records:export")
app.command("espeer.cli.records:import_", name="import")
app.command("espeer.cli.backup:backup")
app.command("espeer.cli.backup:restore")
app.command("espeer.cli.mcp:mcp")
app.command("espeer.cli.model:app", name="model")
app.command("espeer.cli.config:app", name="config")
app.command("espeer.cli.doctor:doctor")
app.command("espeer.cli.completion:completion")
app.command("espeer.cli.demo:demo")
app.command("espeer.cli.sim:app", name="sim")
app.command("espeer.cli.data:app", name="data")


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
        return _fail(re.sub(r"(?<!\.)\.$", "", _one_line(str(error))) + "; see `espeer --help`", USAGE_ERROR)
    except EspeerError as error:
        if debug:
            _print_traceback()
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `espeer ... | head`
        sys.stderr.close()
        return 1
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line for the user, the rest with --debug
        if debug:
            _print_traceback()
        return _fail(f"unexpected {type(error).__name__}: {_one_line(str(error))}; run it again with --debug and report it", 1)
    return 0


def _joined_by_stdin(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """``--join -`` as one token, because of what :func:`_launch` does with ``-``."""
    place = tokens.index("--join") + 1 if "--join" in tokens else len(tokens)
    if tokens[place : place + 1] != ("-",):
        return tokens
    return (*tokens[: place - 1], "--join=-", *tokens[place + 1 :])


def _print_traceback() -> None:
    import traceback  # noqa: PLC0415 - for --debug alone

    traceback.print_exc()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str, code: int) -> int:
    print(f"espeer: {message}", file=sys.stderr)  # noqa: T201 - this is the command line's voice
    return code


def main() -> None:
    """Run the command line."""
    if all(word.startswith("-") for word in sys.argv[1:]):  # the help of the whole, which tells of each verb
        app.resolved_commands()
    code = app.meta()
    gc.freeze()  # else Python looks through all objects for cycles before it ends: half a second of a node's, for nothing
    sys.exit(code)


if __name__ == "__main__":
    main()
