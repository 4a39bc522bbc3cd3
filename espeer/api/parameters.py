"""What a node can be asked with, each parameter with its meaning and its bounds, for OpenAPI.

The bounds are told here and checked by the node, for all who ask it, with a message that says more.
"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from espeer.asking import MAX_ANSWER, MAX_COUNT, MAX_SECONDS, MAX_SEED, MAX_STOP, MAX_STOPS, MAX_TEMPERATURE
from espeer.lifecycle.choice import MAX_CHOICES, MIN_CHOICES
from espeer.records import ID_SIZE
from espeer.text import MAX_INPUT, SLACK


def _told(description: str, **schema: Any) -> Any:
    return Field(description=description, json_schema_extra=schema)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Whole = Annotated[int, BeforeValidator(_whole)]
"""In JSON 5.0 is the integer 5."""

_TEXT: Final = {"maxLength": SLACK * MAX_INPUT}
_SOME_TEXT: Final = _TEXT | {"minLength": 1, "pattern": r"\S"}
_TYPE: Final = "[a-z0-9-]"
_CLEAN: Final = f"Cleaned of control characters and needless white space it has {MAX_INPUT:,} bytes of UTF-8 at most."

Question = Annotated[str, _told(f"The question. {_CLEAN}", **_SOME_TEXT)]
Query = Annotated[str, _told(f"What to look for. {_CLEAN}", **_SOME_TEXT)]
Report = Annotated[str, _told(f"What was seen, asked or told. {_CLEAN}", **_SOME_TEXT)]
Response = Annotated[str, _told(f"What was answered or tried. {_CLEAN}", **_TEXT)]
Outcome = Annotated[str, _told(f"What came of it, or what is right. {_CLEAN}", **_TEXT)]
Choices = Annotated[
    list[Annotated[str, _told(f"A choice. {_CLEAN}", **_SOME_TEXT)]],
    _told("What to choose from.", minItems=MIN_CHOICES, maxItems=MAX_CHOICES),
]

TypeName = Annotated[str, _told("A topic type, such as pumps.", pattern=f"^{_TYPE}{{1,32}}$")]
TypeNameOrNone = Annotated[str, _told('A topic type; "" for what the model decides.', pattern=f"^{_TYPE}{{0,32}}$")]
MostUsed = Annotated[
    _Whole, _told("The most experiences to use; 0 for none, null for as the node is set.", minimum=0, maximum=MAX_COUNT)
]
Limit = Annotated[_Whole, _told("How many, at most.", minimum=1, maximum=MAX_COUNT)]
Number = Annotated[_Whole, _told("The number of an answer or of a run, as the node told it.", minimum=1)]
IdPrefix = Annotated[
    str,
    _told(
        "An experience's id, hexadecimal, or so much of its beginning that no other has it.",
        pattern=f"^[0-9a-fA-F]{{1,{2 * ID_SIZE}}}$",
    ),
]

After = Annotated[_Whole, _told("Where a page begins: the `next` of the one before.", minimum=0)]
OwnAlone = Annotated[bool, _told("Only what this node signed.")]
WithCondensates = Annotated[bool, _told("With what refining made here, which is shared with nobody otherwise.")]
Lines = Annotated[list[str], _told("Lines of an export.")]
FirstLine = Annotated[_Whole, _told("The number of the first line, for what is told of refused ones.", minimum=1)]

MaxTokens = Annotated[
    _Whole, _told("The most tokens of the answer; null for as the node is set.", minimum=1, maximum=MAX_ANSWER)
]
Capture = Annotated[bool, _told("Keep the question and its answer on the node's disk, for feedback.")]
Temperature = Annotated[
    float, _told("0 for the likeliest answer, 1 for answers as often as they are likely.", minimum=0, maximum=MAX_TEMPERATURE)
]
Seed = Annotated[_Whole, _told("For a temperature above 0: the same seed gives the same answer.", minimum=0, maximum=MAX_SEED)]
Stops = Annotated[
    list[Annotated[str, _told("A text that ends the answer and is not part of it.", minLength=1, maxLength=MAX_STOP)]],
    _told("Texts that end the answer.", maxItems=MAX_STOPS),
]
Seconds = Annotated[
    float,
    _told(
        "Seconds that the answer may take; then it ends with what is there. null for as the node is set.",
        exclusiveMinimum=0,
        maximum=MAX_SECONDS,
    ),
]
Threshold = Annotated[
    float, _told("From what likeness on experiences are taken as alike; null for as the node is set.", exclusiveMinimum=0)
]
