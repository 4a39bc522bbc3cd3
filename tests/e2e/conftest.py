"""What the end-to-end tests share: nodes that always end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from namespaces import Namespaces, opened
from processes import Nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Start nodes that are gone when the test is over."""
    with Nodes(tmp_path) as started:
        yield started


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    """Make networks that are gone when the test is over; without the means for it the test is skipped."""
    with opened() as made:
        yield made
