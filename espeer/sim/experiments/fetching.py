"""Fetches data sets: downloads go on where they broke off, are bounded and verified, and leave a file that is whole or none."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from espeer import ownfile
from espeer.errors import EspeerError
from espeer.sim.experiments.datasets import DataSet, Row

_SECONDS: Final = 30.0
"""So long a server may be silent."""
_CHUNK: Final = 256 * 1024
_PARTIAL: Final = 206
_NO_MORE: Final = 416
_RANGE: Final = re.compile(r"bytes (\d+)-.*")

Tell = Callable[[int], None]
"""Is told how many bytes of an archive are there."""


class FetchFailed(EspeerError):
    """A data set could not be had."""


def fetch(data_set: DataSet, folder: Path, tell: Tell) -> Path:
    """Download a data set and write its rows into the folder, unless they are there. Return their file.

    Where it breaks off, what there is of the archive is kept, and the next call goes on from there.

    :raises FetchFailed: no server gives it, or not what it should be.
    """
    target = folder / data_set.file
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f".{data_set.name}.part"
    _download(data_set, archive, tell)
    _write(data_set, target, data_set.read(archive))
    archive.unlink()
    return target


def _download(data_set: DataSet, archive: Path, tell: Tell) -> None:
    faults = []
    for url in data_set.urls:
        try:
            _get(url, archive, data_set.size, tell)
            _check(archive, data_set.sha256)
        except (OSError, HTTPException, FetchFailed) as error:
            faults.append(f"{url}: {error}")
        else:
            return
    raise FetchFailed(
        f"{data_set.name} cannot be downloaded ({'; '.join(faults)}); try again later, or put {data_set.file} there yourself"
    )


def _check(archive: Path, sha256: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        archive.unlink()
        raise FetchFailed(f"it is not the file that is known: its SHA-256 is {found}, not {sha256}")


def _get(url: str, archive: Path, most: int, tell: Tell) -> None:
    """Bring the archive to its end; what is there of it is taken to be its beginning."""
    done = archive.stat().st_size if archive.exists() else 0
    headers = {"User-Agent": "espeer", **({"Range": f"bytes={done}-"} if done else {})}
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_SECONDS)  # noqa: S310 - a table of ours has the addresses
    except HTTPError as error:
        if error.code == _NO_MORE and done:  # it is all there; whether it is the right thing shows later
            return
        raise
    with answer:
        begins = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        goes_on = answer.status == _PARTIAL and begins is not None and int(begins[1]) == done
        with archive.open("ab" if goes_on else "wb") as file:
            _copy(answer, file, done if goes_on else 0, most, tell)
            file.flush()
        announced = answer.headers.get("Content-Length")
        if announced is not None and archive.stat().st_size < int(announced) + (done if goes_on else 0):
            raise FetchFailed("it broke off")


def _copy(source: IO[bytes], file: IO[bytes], done: int, most: int, tell: Tell) -> None:
    while chunk := source.read(_CHUNK):
        done += len(chunk)
        if done > most:
            file.truncate(0)
            raise FetchFailed(f"it is longer than {most:,} bytes, which it should not be")
        file.write(chunk)
        tell(done)


def _write(data_set: DataSet, target: Path, rows: Iterable[Row]) -> None:
    """Write the rows; the file has its name when it is whole."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    if len(lines) != data_set.rows:
        raise FetchFailed(f"{data_set.name} has {len(lines):,} rows, and should have {data_set.rows:,}")
    packed = gzip.compress("".join(lines).encode(), mtime=0)  # without the time the same rows are the same bytes
    ownfile.replace(target, packed, durable=True)
