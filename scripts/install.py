"""Make .venv with espeer and all that its demo and tests need. Run by `make`; needs nothing but Python itself.

llama.cpp is compiled on the way, which takes minutes without a word: so what pip does is shown with the time it takes.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "install.log"
MINIMUM = (3, 11)
QUIET_SECONDS = 20

# what is needed, by the package manager that installs it
PACKAGES = {
    "apt-get": ("sudo apt-get install -y", {"gcc": "gcc", "g++": "g++", "make": "make", "gmp.h": "libgmp-dev"}, "python3-dev"),
    "dnf": ("sudo dnf install -y", {"gcc": "gcc", "g++": "gcc-c++", "make": "make", "gmp.h": "gmp-devel"}, "python3-devel"),
    "pacman": ("sudo pacman -S", {"gcc": "gcc", "g++": "gcc", "make": "make", "gmp.h": "gmp"}, "python"),
    "brew": ("brew install", {"gcc": "gcc", "g++": "gcc", "make": "make", "gmp.h": "gmp"}, "python"),
}


def main() -> int:
    """Install, or say in one line what is missing."""
    if sys.version_info < MINIMUM:
        return fail(f"espeer needs Python 3.11 or newer, this is {sys.version.split()[0]}; try: make PYTHON=python3.11")
    if missing := [*missing_tools()]:
        return fail(f"missing: {', '.join(missing)}; install with: {install_command(missing)}")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return fail(f"Python cannot make a virtual environment; install with: {install_command([])} python3-venv")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    wanted = ["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[model,hub,dev]"]
    print("installing espeer into .venv; the first time llama.cpp is compiled, 3 to 10 minutes", flush=True)
    started = time.monotonic()
    if run_shown([*pip, "--progress-bar", "off", *wanted], started) != 0:
        return fail(f"the installation failed; its whole output is in {LOG.relative_to(ROOT)}")
    # libp2p brings trio-typing, whose stubs of an older trio would hide the types that trio ships itself
    for stubs in VENV.glob("lib/python*/site-packages/trio-stubs"):
        shutil.rmtree(stubs)
    (VENV / "installed").touch()
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def missing_tools() -> Iterator[str]:
    """Name what py-libp2p and llama.cpp cannot be compiled without and is not here."""
    for tool in ("gcc", "g++", "make"):
        if shutil.which(tool) is None:
            yield tool
    if shutil.which("gcc") is not None and not compiles("#include <gmp.h>"):
        yield "gmp.h"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        yield "Python.h"


def compiles(source: str) -> bool:
    """Whether gcc takes a line of C."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.c"
        file.write_text(source + "\n")
        return subprocess.run(["gcc", "-fsyntax-only", str(file)], check=False, capture_output=True).returncode == 0


def install_command(missing: list[str]) -> str:
    """Say how this system's package manager installs what is missing."""
    for manager, (command, names, headers) in PACKAGES.items():
        if shutil.which(manager):
            return " ".join([command, *dict.fromkeys(names.get(item, headers) for item in missing)])
    return "your system's package manager"


def run_shown(command: list[str], started: float) -> int:
    """Run pip with its output in a file, and show on one line what it is at; off a terminal, a line now and then."""
    terminal = sys.stdout.isatty()
    step, said = "starting", started
    with LOG.open("w+", encoding="utf-8", errors="replace") as log:
        reader = LOG.open(encoding="utf-8", errors="replace")
        with reader, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as pip:
            while pip.poll() is None:
                time.sleep(0.25)
                lines = [line.strip() for line in reader.read().splitlines() if line.strip()]
                step = lines[-1] if lines else step
                now = time.monotonic()
                if terminal:
                    print(f"\r\033[K{now - started:4.0f} s  {step[:100]}", end="", flush=True)
                elif now - said > QUIET_SECONDS:
                    print(f"{now - started:4.0f} s  {step[:100]}", flush=True)
                    said = now
            if terminal:
                print("\r\033[K", end="")
            return pip.returncode


def fail(message: str) -> int:
    """Say what is wrong, in one line."""
    print(f"install: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
