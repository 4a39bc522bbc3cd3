"""What is wrong, in one line (pure)."""

from typing import Final

from pydantic import ValidationError

FAILED: Final = "the node failed at this; its log says why"
"""What is told of a fault of ours."""

_COMPLAINTS: Final = 4
"""A list of a thousand wrong items is not complained about a thousand times."""


def complaint(error: ValidationError) -> str:
    """Say in one line what is wrong with parameters."""
    return "; ".join(
        f"{'.'.join(map(str, found['loc'])) or 'the parameters'}: {found['msg'][:1].lower()}{found['msg'][1:]}"
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:_COMPLAINTS]
    )
