"""Writes docs/cli.md and the table in docs/configuration.md from the program itself, or, with --check, compares them.

python scripts/cli_docs.py
"""

import re
import sys
from pathlib import Path

from espeer.cli.main import app
from espeer.settings import SETTINGS, Setting

DOCS = Path(__file__).parents[1] / "docs"
CLI = """\
# The command line

Made from `espeer --help` by scripts/cli_docs.py.

Every verb takes `--json` for one line of JSON on standard output, and `--help`. Verbs that talk to a running node find it by
its data folder: `--data`, or that of the [settings](configuration.md). An argument that is `-` is read from standard input.

| exit code | what happened |
|---|---|
| 0 | it is done |
| 1 | it failed; one line on standard error says why, and what to do |
| 2 | wrong usage: an unknown verb or option, or a value that an option cannot have |
| 130 | interrupted, by Ctrl-C |

`--debug` shows a traceback where something fails.

To have your shell complete verbs and options:

```sh
espeer completion bash > ~/.local/share/bash-completion/completions/espeer
espeer completion zsh > ~/.zfunc/_espeer        # a folder of $fpath
espeer completion fish > ~/.config/fish/completions/espeer.fish
```

"""
BEGIN, END = "<!-- the table of settings begins -->", "<!-- the table of settings ends -->"


def cli() -> str:
    """Return docs/cli.md."""
    app.resolved_commands()
    made = app.generate_docs()
    made = made[made.index("**Commands**") :].replace("**Commands**:\n", "## Verbs\n", 1)
    made = re.sub(r"^Example: (.*)$", r"```sh\n\1\n```", made, flags=re.MULTILINE)
    made = re.sub(r"\n\* `--debug`: .*", "", made)  # said once, above
    made = re.sub(r"\*\*Parameters\*\*:\n\n(?=\n|#|\Z|\*\*)", "", made)
    return CLI + re.sub(r"\n{3,}", "\n\n", made).rstrip() + "\n"


def configuration() -> str:
    """Return docs/configuration.md with its table as it should be."""
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n\n" + "\n".join(_table()) + "\n\n" + END + rest.split(END)[1]


def _table() -> list[str]:
    lines: list[str] = []
    group = ""
    for setting in SETTINGS.values():
        if setting.group != group:
            group = setting.group
            lines += ["", f"### {group}", "", "| key | flag | default | |", "|---|---|---|---|"]
        lines.append(_row(setting))
    return lines[1:]


def _row(setting: Setting) -> str:
    flag = f"`{setting.flag}`" if setting.flag else "none"
    default = "" if setting.name == "data" else f"`{setting.written(setting.default)}`"
    choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
    return f"| `{setting.name}` | {flag} | {default} | {setting.help}{choices} |".replace("`none`", "none")


def main() -> None:
    """Write the pages, or check them."""
    stale = []
    for path, text in ((DOCS / "cli.md", cli()), (DOCS / "configuration.md", configuration())):
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{path.name}")
    if stale and "--check" in sys.argv:
        sys.exit(f"not up to date: {', '.join(stale)}; run: python scripts/cli_docs.py")


if __name__ == "__main__":
    main()
