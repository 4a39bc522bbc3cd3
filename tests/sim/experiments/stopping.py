"""Stops an experiment in the middle of its work."""

import pytest

from espeer.sim.experiments.journal import Journal


def stop_once(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Have a KeyboardInterrupt come when so many pieces are done, once; return the keys of all that are, as they come."""
    done: list[str] = []
    put = Journal.put

    def stopping(self: Journal, key: str, result: object) -> None:
        put(self, key, result)
        done.append(key)
        if len(done) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "put", stopping)
    return done
