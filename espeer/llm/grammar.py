"""Grammars in GBNF, llama.cpp's language, that hold a model to a form (pure).

The form is JSON of a schema, one of several texts, or a text in given words. Schemas are a subset of JSON Schema (draft
2020-12) in which everything has an end, so that an answer fits ``max_tokens``:

- ``{"type": "object", "properties": {...}, "required": [...]}``: all properties are required, and come in their order.
- ``{"type": "array", "items": {...}}`` with ``minItems`` and ``maxItems``.
- ``{"type": "string"}`` with ``minLength`` and ``maxLength`` in characters. The text is one line: it has no control characters.
- ``{"type": "number"}``, ``{"type": "integer"}``, ``{"type": "boolean"}``, ``{"type": "null"}``.
- ``{"enum": [...]}`` and ``{"const": ...}`` with strings, numbers, true, false and null.

What only describes (``title``, ``description``, ``default``, ``examples``, ``$schema``, ``$comment``) is passed over; anything
else is refused, never ignored. ``llama_cpp.llama_grammar.json_schema_to_gbnf`` knows more of JSON Schema, but lets line breaks
into strings, writes quotes, line breaks and characters beyond the BMP in an enum so that no valid JSON or no token comes of
them, takes no notice of ``minimum``, and has no bounds.

::

    schema = JsonSchema({"type": "object", "properties": {"city": {"type": "string", "maxLength": 40}}, "required": ["city"]})
    said = await engine.complete(prompt, Sampling(grammar=schema.grammar))
    city = schema.read(said)["city"]
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from espeer.errors import InputError, ModelError

MAX_DEPTH: Final = 8
"""Schemas may be nested so deep."""

MAX_SCHEMAS: Final = 200
"""The most schemas in a schema, itself included."""

MAX_VALUES: Final = 200
"""The most values of an enum: of so many that begin alike, llama.cpp takes a fifth of a second to choose a token."""

MAX_LENGTH: Final = 2000
"""The most characters of a string, and the ``maxLength`` of one that has none. llama.cpp takes no longer repetitions."""

MAX_ITEMS: Final = 32
"""The most items of an array that has no ``maxItems``."""

MAX_REPEATED: Final = 20_000
"""The most characters and items that all strings and arrays of a schema may have: llama.cpp makes a rule for each."""

MAX_GRAMMAR: Final = 64 * 1024
"""The most bytes of a grammar."""

MAX_GROUPS: Final = 1000
"""The most opening brackets in a grammar: llama.cpp's parser calls itself for each, on a stack of a few MB."""

MAX_ANSWER: Final = 1_000_000
"""The most characters of an answer that is read."""

_LARGEST: Final = 1e300
_DESCRIBING: Final = frozenset({"title", "description", "default", "examples", "$schema", "$comment"})
_INTEGER: Final = '"-"? ("0" | [1-9] [0-9]{0,14})'
_SHARED: Final = {
    "character": r'[ !#-[\]-~\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF] | "\\" ["\\/]',
    "integer": _INTEGER,
    "boolean": '"true" | "false"',
    "null": '"null"',
    "number": f'{_INTEGER} ("." [0-9]{{1,15}})? ([eE] [-+]? [0-9] [0-9]?)?',
}
_SEPARATOR: Final = '", "'
_CONTROL: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufffe\\uffff]")
_Holds = Callable[[Any], bool]


class JsonSchema:
    """A schema that a model's answer is held to.

    :ivar grammar: for :class:`espeer.llm.model.Sampling`. It allows one way of writing each value, with a space after each
        colon and comma and no other.
    :raises InputError: not of the subset, or too large.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        builder = _Builder()
        root, self._holds = builder.visit(schema, "the schema", 1)
        self.grammar: Final = "".join(f"{name} ::= {body}\n" for name, body in (("root", root), *builder.rules.items()))
        if len(self.grammar.encode()) > MAX_GRAMMAR:
            raise InputError(f"the schema makes a grammar of more than {MAX_GRAMMAR:,} bytes; shorten its names and values")

    def read(self, text: str) -> Any:
        """Return the value in an answer.

        :raises ModelError: the answer is not whole, or not of the schema: ``max_tokens`` or a stop text ended it, or it did not
            come from a model that keeps to grammars.
        """
        try:
            value = json.loads(text[: MAX_ANSWER + 1], parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise _unlike() from None
        if not self._holds(value):
            raise _unlike()
        return value


def any_object() -> str:
    """Return the grammar of JSON objects of any kind, written as those of a :class:`JsonSchema` are. They need not end."""
    rules = {
        "root": rf'"{{" (pair ({_SEPARATOR} pair)*)? "}}"',
        "pair": r'string ": " value',
        "value": "root | array | string | number | boolean | null",
        "array": rf'"[" (value ({_SEPARATOR} value)*)? "]"',
        "string": r'"\"" character* "\""',
    }
    return "".join(f"{name} ::= {body}\n" for name, body in (rules | _SHARED).items())


def one_of(texts: Sequence[str]) -> str:
    """Return the grammar that allows nothing but one of these texts.

    :raises InputError: none, more than :data:`MAX_VALUES`, an empty one, or not Unicode.
    """
    if not 1 <= len(texts) <= MAX_VALUES or not all(texts):
        raise InputError(f"a grammar takes from one to {MAX_VALUES:,} texts, none of them empty")
    return "root ::= " + " | ".join(map(_literal, texts))


def in_words(words: Sequence[str], most: int) -> str:
    """Return the grammar of texts of nothing but these words, at least one and at most ``most`` of them.

    Between them stands a space, a comma or a semicolon, and at the end perhaps a full stop. Raises as :func:`one_of` does.
    """
    alternatives = one_of(words).removeprefix("root ::= ")
    return f'root ::= word more{{0,{most - 1}}} "."?\nmore ::= (" " | ", " | "; ") word\nword ::= {alternatives}'


class _Builder:
    """Collects the rules of a schema, and counts."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}
        self._schemas = 0
        self._repeated = 0

    def visit(self, schema: Any, where: str, depth: int) -> tuple[str, _Holds]:
        """Return a schema's rule, and what tells whether a value is of it."""
        self._schemas += 1
        if depth > MAX_DEPTH or self._schemas > MAX_SCHEMAS:
            self._refuse_size(where)
        if not isinstance(schema, Mapping):
            _refuse(where, "is not an object; give a JSON schema")
        given = {key: value for key, value in schema.items() if key not in _DESCRIBING}
        if "enum" in given or "const" in given:
            return self._values(given, where)
        kind = given.pop("type", None)
        if kind == "object":
            return self._object(given, where, depth)
        if kind == "array":
            return self._array(given, where, depth)
        if kind == "string":
            return self._string(given, where)
        if not isinstance(kind, str) or kind not in _SCALARS:
            _refuse(where, f"has no type that is taken: object, array, {', '.join(_SCALARS)}; or give it an enum")
        _check_keys(given, (), where)
        return self._shared(kind), _SCALARS[kind]

    def _refuse_size(self, where: str) -> NoReturn:
        _refuse(where, f"is too deep or too much: at most {MAX_DEPTH} levels and {MAX_SCHEMAS} schemas are taken")

    def _object(self, given: dict[str, Any], where: str, depth: int) -> tuple[str, _Holds]:
        _check_keys(given, ("properties", "required", "additionalProperties"), where)
        properties, required = given.get("properties"), given.get("required")
        if not isinstance(properties, Mapping) or not properties or not all(isinstance(name, str) for name in properties):
            _refuse(where, "has no properties; name some")
        if len(properties) >= MAX_SCHEMAS or (isinstance(required, list | tuple) and len(required) >= MAX_SCHEMAS):
            self._refuse_size(where)  # before the ones are looked for among the others
        if not isinstance(required, list | tuple) or not all(name in required for name in properties):
            _refuse(where, "has properties that are not required; put all of them into its list of required ones")
        if len(required) != len(properties) or given.get("additionalProperties", False) is not False:
            _refuse(where, "wants properties that it does not name; name them all")
        parts, fields = [], {}
        for name, inner in properties.items():
            rule, fields[name] = self.visit(inner, f"property {name[:40]!r} of {where}"[:200], depth + 1)
            parts.append(f"{_literal(json.dumps(name, ensure_ascii=False) + ': ')} {self._named(rule)}")

        def holds(value: Any) -> bool:
            return (
                isinstance(value, dict)
                and list(value) == list(fields)
                and all(field(value[name]) for name, field in fields.items())
            )

        return f'"{{" {f" {_SEPARATOR} ".join(parts)} "}}"', holds

    def _array(self, given: dict[str, Any], where: str, depth: int) -> tuple[str, _Holds]:
        _check_keys(given, ("items", "minItems", "maxItems"), where)
        least, most = self._range(given, "minItems", "maxItems", MAX_ITEMS, where)
        rule, inner = self.visit(given.get("items"), f"items of {where}"[:200], depth + 1)
        item = self._named(rule)

        def holds(value: Any) -> bool:
            return isinstance(value, list) and least <= len(value) <= most and all(map(inner, value))

        if most == 0:
            return '"[]"', holds
        more = self._named(f"{_SEPARATOR} {item}")
        items = f"{item} {more}{{{max(least, 1) - 1},{most - 1}}}"
        # llama.cpp multiplies repetitions that stand in each other, but not those of a rule that has a name
        return f'"[" {items} "]"' if least else f'"[" {self._named(items)}? "]"', holds

    def _string(self, given: dict[str, Any], where: str) -> tuple[str, _Holds]:
        _check_keys(given, ("minLength", "maxLength"), where)
        least, most = self._range(given, "minLength", "maxLength", MAX_LENGTH, where)
        rule = rf'"\"" {self._shared("character")}{{{least},{most}}} "\""' if most else r'"\"\""'
        return rule, lambda value: isinstance(value, str) and least <= len(value) <= most and not _CONTROL.search(value)

    def _values(self, given: dict[str, Any], where: str) -> tuple[str, _Holds]:
        _check_keys(given, ("enum", "const", "type"), where)
        values = given.get("enum", [given.get("const")])
        if (
            len(given.keys() & {"enum", "const"}) > 1
            or not isinstance(values, list | tuple)
            or not 1 <= len(values) <= MAX_VALUES
        ):
            _refuse(where, f"needs either a const or an enum of from one to {MAX_VALUES:,} values")
        kinds = [kind for kind in _SCALARS if given.get("type", kind) == kind]
        if not all(any(_SCALARS[kind](value) for kind in kinds) for value in values):
            _refuse(where, "has values that are not of its type, or other than strings, finite numbers, true, false and null")
        written = [json.dumps(value, ensure_ascii=False) for value in values]

        def holds(value: Any) -> bool:  # True is 1 to Python, and not to JSON
            return not isinstance(value, dict | list) and json.dumps(value, ensure_ascii=False) in written

        return f"({' | '.join(map(_literal, written))})", holds

    def _range(self, given: Mapping[str, Any], lower: str, upper: str, usual: int, where: str) -> tuple[int, int]:
        for value in (given.get(lower, 0), given.get(upper, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_LENGTH:
                _refuse(where, f"needs a {lower} and {upper} from 0 to {MAX_LENGTH:,}")
        least: int = given.get(lower, 0)
        most: int = given.get(upper, max(least, usual))
        if least > most:
            _refuse(where, f"has a {lower} over its {upper}")
        self._repeated += most
        if self._repeated > MAX_REPEATED:
            _refuse(where, f"makes the answer too long: all strings and items together may be {MAX_REPEATED:,}; lower {upper}")
        return least, most

    def _shared(self, name: str) -> str:
        """Have a rule that is the same for all schemas."""
        self.rules[name] = _SHARED[name]
        return name

    def _named(self, rule: str) -> str:
        """Put a rule under a name of its own: what is repeated must be one item."""
        name = f"r{len(self.rules)}"
        self.rules[name] = rule
        return name


def _literal(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text) or "\0" in text:
        raise InputError("a name or value in a grammar has half a character or a NUL in it; give whole ones")
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "(": r"\x28"}  # a bracket would be counted as a group
    return f'"{"".join(escapes.get(letter, letter) for letter in text)}"'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _check_keys(given: Mapping[str, Any], taken: Sequence[str], where: str) -> None:
    if other := sorted(str(key)[:40] for key in given.keys() - set(taken)):
        known = f"only {', '.join(taken)}" if taken else "nothing more"
        _refuse(where, f"has {', '.join(other[:3])}, which is not taken; {known} may stand there")


def _refuse(where: str, why: str) -> NoReturn:
    raise InputError(f"{where} {why}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _unlike() -> ModelError:
    return ModelError("the model's answer is not the JSON that was asked for, or was cut off; allow it more tokens")


_SCALARS: Final[Mapping[str, _Holds]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: isinstance(value, int) and _is_number(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
