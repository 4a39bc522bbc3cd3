"""What tests share: keys, records and clocks made of values."""

import os
from collections.abc import Callable, Iterator

import pytest
from nacl.signing import SigningKey

from espeer import records
from espeer.llm.loading import open_model
from espeer.llm.model import Model
from espeer.records import Experience, SignedRecord

os.environ["ESPEER_CONFIG"] = os.devnull  # whoever runs the tests may have settings of his own; processes inherit this

NOW = 1_800_000_000_000
"""The tests' clock, in milliseconds since the Unix epoch."""


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def key() -> SigningKey:
    return SigningKey(bytes(range(32)))


Learn = Callable[..., SignedRecord]


@pytest.fixture
def experience(key: SigningKey) -> Learn:
    """Make a signed experience of ours from a text."""

    def make(text: str, *, type: str = "pumps", created: int = NOW, signer: SigningKey = key) -> SignedRecord:
        value = Experience(type, text, created, bytes(signer.verify_key), "fake", "distilled")
        return records.sign(value, lambda digest: signer.sign(digest).signature)

    return make


@pytest.fixture(scope="session")
def real_model() -> Iterator[Model]:
    """Load the default model once for all tests that need it."""
    model = open_model(None)
    yield model
    model.close()
