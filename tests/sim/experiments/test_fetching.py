"""Fetching data sets from a server on this machine: archives made here, in the form of the real ones."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from espeer.cli.main import app
from espeer.errors import EspeerError
from espeer.sim.experiments import datasets, questions, retrieval
from espeer.sim.experiments.datasets import DATA_SETS, DataSet
from espeer.sim.experiments.fetching import FetchFailed, fetch


@dataclass
class Served:
    """What the server gives: a body by path; of those in ``cut`` so many bytes, once, of those in ``plain`` never a part."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            found.asked.append((self.path, wanted))
            body = found.bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted[6:-1]) if wanted and self.path not in found.plain else 0
            if start and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : found.cut.pop(self.path, len(body))])

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        found.address = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


def tar(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            made.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def zipped(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return packed.getvalue()


MMLU = tar(
    {
        "data/test/anatomy_test.csv": '"Which bone, and\nwhere? ",a,b,"c, d",e,C\n',
        "data/README.txt": "not a table",
        "data/auxiliary_train/race.csv": "q,a,b,c,d,A\n",
        "data/dev/virology_dev.csv": "Is it?,no,yes,maybe,never,B\n",
        "data/dev/anatomy_dev.csv": "one,a,b,c,d,A\ntwo,a,b,c,d,D\n",
        "data/val/../dev/anatomy_dev.csv": "no\n",
    }
)
SCIQ = {"question": "q?", "distractor3": "w3", "distractor1": "w1", "distractor2": "r", "correct_answer": "r", "support": "s"}
SCIQ_ZIP = zipped(
    {
        "__MACOSX/SciQ dataset-2 3/train.json": "no",
        **{f"SciQ dataset-2 3/{split}.json": json.dumps([SCIQ] * 2) for split in ("test", "train", "valid")},
    }
)
SCIFACT_ZIP = zipped(
    {
        "scifact/corpus.jsonl": '{"_id": "7", "title": "T", "text": "x", "more": {}}\n{"_id": "8", "title": "", "text": "y"}\n',
        "scifact/queries.jsonl": '{"_id": "1", "text": "one"}\n{"_id": "2", "text": "two"}\n{"_id": "3", "text": "unjudged"}\n',
        "scifact/qrels/train.tsv": "query-id\tcorpus-id\tscore\n2\t8\t1\n",
        "scifact/qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\t7\t1\n1\t8\t1\n",
    }
)


def small(name: str, body: bytes, rows: int, *urls: str) -> DataSet:
    """A data set as it is, but for the archive that is served here."""
    return replace(DATA_SETS[name], urls=urls, sha256=hashlib.sha256(body).hexdigest(), size=len(body), rows=rows)


def nothing(_: int) -> None:
    pass


def test_the_rows_of_mmlu(tmp_path: Path, served: Served) -> None:
    served.bodies |= {"/data.tar": MMLU, "/page": b"<html>We moved</html>"}
    urls = [f"{served.address}/{path}" for path in ("gone", "page", "data.tar")]
    file = fetch(small("mmlu", MMLU, 4, *urls), tmp_path, nothing)
    rows = list(retrieval.rows(file))
    assert [row["id"] for row in rows] == [
        "mmlu/dev/anatomy/0",
        "mmlu/dev/anatomy/1",
        "mmlu/dev/virology/0",
        "mmlu/test/anatomy/0",
    ]
    assert rows[3]["question"] == "Which bone, and\nwhere? "
    assert rows[3]["choices"][rows[3]["answer_index"]] == "c, d"
    assert [item.answer for item in questions.load(tmp_path, "anatomy")] == [0, 3, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["mmlu.jsonl.gz"]
    assert fetch(small("mmlu", b"", 4), tmp_path, nothing) == file  # it is there


def test_the_rows_of_sciq_and_of_scifact(tmp_path: Path, served: Served) -> None:
    served.bodies |= {"/SciQ.zip": SCIQ_ZIP, "/scifact.zip": SCIFACT_ZIP}
    fetch(small("sciq", SCIQ_ZIP, 6, f"{served.address}/SciQ.zip"), tmp_path, nothing)
    items = questions.load(tmp_path, "sciq")
    assert [item.id for item in items] == [
        f"sciq/{split}/{number}" for split in ("train", "valid", "test") for number in (0, 1)
    ]
    assert all((item.right, sorted(item.choices)) == ("r", ["r", "r", "w1", "w3"]) for item in items)
    assert len({item.answer for item in items}) > 1
    fetch(small("scifact", SCIFACT_ZIP, 7, f"{served.address}/scifact.zip"), tmp_path, nothing)
    found = retrieval.load(tmp_path, "scifact", "test")
    assert found.titles == {"7": "T", "8": ""}
    assert (found.queries, found.gains) == ({"1": "one"}, {"1": {"7": 1.0, "8": 1.0}})
    assert retrieval.load(tmp_path, "scifact", "train").gains == {"2": {"8": 1.0}}


def test_what_broke_off_goes_on(tmp_path: Path, served: Served) -> None:
    served.bodies |= {"/a": SCIQ_ZIP}
    served.cut |= {"/a": 100}
    wanted = small("sciq", SCIQ_ZIP, 6, f"{served.address}/a")
    with pytest.raises(FetchFailed, match="broke off"):
        fetch(wanted, tmp_path, nothing)
    assert not (tmp_path / "sciq.jsonl.gz").exists()
    told: list[int] = []
    fetch(wanted, tmp_path, told.append)
    assert served.asked == [("/a", None), ("/a", "bytes=100-")]
    assert told[-1] == len(SCIQ_ZIP)


def test_a_server_that_gives_no_parts_is_read_from_the_start_and_a_whole_archive_is_not_fetched_again(
    tmp_path: Path, served: Served
) -> None:
    served.bodies |= {"/a": SCIQ_ZIP}
    served.plain.add("/a")
    (tmp_path / ".sciq.part").write_bytes(SCIQ_ZIP[:50])
    wanted = small("sciq", SCIQ_ZIP, 6, f"{served.address}/a")
    file = fetch(wanted, tmp_path, nothing)
    first = file.read_bytes()
    file.unlink()
    served.plain.clear()
    (tmp_path / ".sciq.part").write_bytes(SCIQ_ZIP)
    assert fetch(wanted, tmp_path, nothing).read_bytes() == first


def test_what_is_not_the_known_file_is_refused_and_not_kept(tmp_path: Path, served: Served) -> None:
    served.bodies |= {"/other": SCIQ_ZIP[:-1] + b"x", "/long": SCIQ_ZIP + b"x" * 1000}
    wanted = small("sciq", SCIQ_ZIP, 6, f"{served.address}/other")
    with pytest.raises(FetchFailed, match="not the file that is known"):
        fetch(wanted, tmp_path, nothing)
    with pytest.raises(FetchFailed, match="longer than"):
        fetch(replace(wanted, urls=(f"{served.address}/long",)), tmp_path, nothing)
    served.bodies["/whole"] = SCIQ_ZIP
    with pytest.raises(FetchFailed, match="has 6 rows, and should have 7"):
        fetch(replace(wanted, rows=7, urls=(f"{served.address}/whole",)), tmp_path, nothing)
    assert not (tmp_path / "sciq.jsonl.gz").exists()


def test_archives_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"data/dev/anatomy_dev.csv": "one,a,b,c,A\n"}))
    with pytest.raises(EspeerError, match="line 1 of anatomy, dev"):
        list(datasets.mmlu(tmp_path / "a.tar"))
    (tmp_path / "a.zip").write_bytes(zipped({"else.json": "[]"}))
    with pytest.raises(EspeerError, match=r"holds no train\.json"):
        list(datasets.sciq(tmp_path / "a.zip"))


def test_the_verb(tmp_path: Path, served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    served.bodies["/SciQ.zip"] = SCIQ_ZIP
    monkeypatch.setitem(DATA_SETS, "sciq", small("sciq", SCIQ_ZIP, 6, f"{served.address}/SciQ.zip"))
    app(["data", "fetch", "sciq", "--to", str(tmp_path), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out) == {"sciq": str(tmp_path / "sciq.jsonl.gz")}
    assert "not for commercial use" in said.err
    with pytest.raises(EspeerError, match="no data set 'gsm8k'"):
        app(["data", "fetch", "gsm8k"])
