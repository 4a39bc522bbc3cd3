"""`espeer completion`: have a shell complete the command line."""

from typing import Literal

from espeer.cli.options import Json
from espeer.cli.show import print_json


def completion(shell: Literal["bash", "zsh", "fish"], /, *, json: Json = False) -> None:
    """Print a script that has a shell complete espeer's verbs and options.

    bash: espeer completion bash > ~/.local/share/bash-completion/completions/espeer
    zsh: espeer completion zsh > _espeer, in a folder of $fpath
    fish: espeer completion fish > ~/.config/fish/completions/espeer.fish

    Example: eval "$(espeer completion bash)"

    :param shell: bash, zsh or fish.
    """
    from espeer.cli.main import app  # noqa: PLC0415 - which names this module

    script = app.generate_completion(shell=shell)
    if json:
        print_json({"shell": shell, "script": script})
    else:
        print(script)  # noqa: T201 - to be piped, as it is
