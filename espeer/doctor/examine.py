"""Does all checks beside each other, each with a bound on its time."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from espeer import places
from espeer.api.client import request
from espeer.config import Config
from espeer.doctor import clock, data, network, software
from espeer.doctor.finding import Finding, Situation
from espeer.errors import ConfigError, ControlError, EspeerError
from espeer.settings import Service
from espeer.sources import choose

_ALL_SECONDS: Final = 2.5
_ASK_SECONDS: Final = 1.0
_Check = Callable[[Situation], Iterable[Finding]]
CHECKS: Final[dict[str, _Check]] = {
    "data folder": data.folder,
    "identity": data.identity,
    "store": data.store,
    "model": software.model,
    "versions": software.versions,
    "index": software.compiled,
    "addresses": network.addresses,
    "port": network.listening,
    "reach": network.reach,
    "http": network.http,
    "peers": network.peers,
    "clock": clock.clock,
    "clock service": clock.synchronised,
}


def examine(
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    network: bool = False,
    env: Mapping[str, str] = os.environ,
    checks: Mapping[str, _Check] = CHECKS,
    seconds: float = _ALL_SECONDS,
) -> list[Finding]:
    """Look for faults; it takes ``seconds`` and a little more at the most, whatever hangs.

    :param file: the settings' file, as for :func:`espeer.sources.choose`.
    :param flags: values that were given on the command line, by setting.
    :param network: connect to the peers that the settings name, too.
    """
    until = time.monotonic() + seconds
    findings, config, service = _settings(file, flags or {}, env)
    found: dict[str, list[Finding]] = {}
    situation = _situation(config, service, network=network)
    threads = [
        threading.Thread(target=_run, args=(name, check, situation, found), daemon=True) for name, check in checks.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    for name in checks:
        findings += found[name] if name in found else [_hung(name, seconds)]
    return findings


def _settings(file: Path | None, flags: Mapping[str, Any], env: Mapping[str, str]) -> tuple[list[Finding], Config, Service]:
    """The settings; where they cannot be used, the defaults, and what is wrong with them."""
    try:
        chosen = choose(file, flags=flags, env=env)
        config = chosen.config()
    except ConfigError as error:
        finding = Finding("settings", "fail", str(error), "mend that; what follows is about the default settings")
        return [finding], Config(data=flags.get("data") or places.data_folder(env)), Service()
    return [Finding("settings", "ok", str(chosen.file or "no file; the defaults"))], config, chosen.service()


def _situation(config: Config, service: Service, *, network: bool) -> Situation:
    status: dict[str, Any] | None = None
    peers: list[Any] = []
    with suppress(ControlError, TimeoutError):
        status = request(config.data, "status", seconds=_ASK_SECONDS)
        peers = request(config.data, "peers", seconds=_ASK_SECONDS)
    now = time.time_ns() // 1_000_000
    return Situation(config=config, service=service, status=status, peers=peers, now_ms=now, network=network)


def _run(name: str, check: _Check, situation: Situation, found: dict[str, list[Finding]]) -> None:
    try:
        found[name] = list(check(situation))
    except (EspeerError, OSError) as error:
        found[name] = [Finding(name, "fail", f"cannot be looked at: {error}", "see whether its files can be read")]


def _hung(name: str, seconds: float) -> Finding:
    return Finding(name, "fail", f"nothing came back within {seconds:g} s", "a disk or the network hangs")
