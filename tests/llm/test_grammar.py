"""Grammars of JSON schemas: llama.cpp takes what the schema takes, a model's answer is of the schema, the rest is refused."""

import ctypes
import json
import math
from collections.abc import Iterator
from typing import Any

import llama_cpp
import pytest
from bringing import answer
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_gguf import SPECIAL, write_tiny

from espeer.errors import InputError, ModelError
from espeer.llm.grammar import MAX_DEPTH, MAX_GROUPS, MAX_LENGTH, MAX_SCHEMAS, MAX_VALUES, JsonSchema, in_words, one_of
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Message, Prompt, Sampling

PROMPT = Prompt((Message("user", "Describe a pump in JSON."),))

Pair = tuple[dict[str, Any], Any]  # a schema, and a value of it

line = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=8)
scalar = line | st.integers(-(10**15) + 1, 10**15 - 1) | st.booleans() | st.none() | st.floats(-1e9, 1e9)


def texts(length: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(0, length), line).map(
        lambda drawn: ({"type": "string", "minLength": min(drawn[0], len(drawn[1])), "maxLength": len(drawn[1]) + 2}, drawn[1])
    )


def arrays(pair: Pair) -> st.SearchStrategy[Pair]:
    return st.integers(0, 3).map(
        lambda count: ({"type": "array", "items": pair[0], "minItems": count // 2, "maxItems": count}, [pair[1]] * count)
    )


def objects(fields: dict[str, Pair]) -> Pair:
    properties = {name: pair[0] for name, pair in fields.items()}
    schema = {"type": "object", "title": "x", "properties": properties, "required": list(properties)}
    return schema, {name: pair[1] for name, pair in fields.items()}


plain: st.SearchStrategy[Pair] = (
    texts(8)
    | st.integers(-(10**15) + 1, 10**15 - 1).map(lambda value: ({"type": "integer"}, value))
    | st.floats(-1e15, 1e15).map(lambda value: ({"type": "number"}, float(f"{value:.6f}")))
    | st.booleans().map(lambda value: ({"type": "boolean"}, value))
    | st.just(({"type": "null"}, None))
    | st.lists(scalar, min_size=1, max_size=4).map(lambda values: ({"enum": values}, values[0]))
    | scalar.map(lambda value: ({"const": value}, value))
)
pairs = st.recursive(
    plain, lambda inner: inner.flatmap(arrays) | st.dictionaries(line, inner, min_size=1, max_size=3).map(objects), max_leaves=5
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaModel]:
    """A model of random weights, with room for long answers."""
    path = write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", llama__context_length=2048)
    model = LlamaModel.load(path, context=2048)
    yield model
    model.close()


def takes(model: LlamaModel, grammar: str, text: str) -> bool:
    """Whether llama.cpp lets a model say this text, byte by byte, and then end."""
    end = 2
    sampler = llama_cpp.llama_sampler_init_grammar(model._vocabulary.handle, grammar.encode(), b"root")
    assert sampler
    try:
        for token in (*(len(SPECIAL) + byte for byte in text.encode()), end):
            data = (llama_cpp.llama_token_data * 1)(llama_cpp.llama_token_data(token, 0.0, 0.0))
            array = llama_cpp.llama_token_data_array(data=data, size=1, selected=-1, sorted=False)
            llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
            if not math.isfinite(data[0].logit):
                return False
            if token != end:
                llama_cpp.llama_sampler_accept(sampler, token)
        return True
    finally:
        llama_cpp.llama_sampler_free(sampler)


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=150, deadline=None)
@given(pair=pairs, other=pairs)
def test_llama_cpp_takes_the_values_of_a_schema_and_no_others(model: LlamaModel, pair: Pair, other: Pair) -> None:
    schema = JsonSchema(pair[0])
    assert takes(model, schema.grammar, written(pair[1]))
    assert written(schema.read(written(pair[1]))) == written(pair[1])
    for text in (written(other[1]), written(pair[1])[:-1], written(pair[1]) + " ", written([pair[1]]), written({"a": pair[1]})):
        if takes(model, schema.grammar, text):
            assert written(schema.read(text)) == text
    if not takes(model, schema.grammar, written(other[1])):
        with pytest.raises(ModelError, match="not the JSON that was asked for"):
            schema.read(written(other[1]))


@settings(max_examples=50, deadline=None)
@given(pair=pairs, seed=st.integers(0, 99))
def test_whatever_a_model_says_is_of_the_schema(model: LlamaModel, pair: Pair, seed: int) -> None:
    schema = JsonSchema(pair[0])
    sampling = Sampling(max_tokens=1500, temperature=50.0, seed=seed, grammar=schema.grammar)
    said = answer(model, PROMPT, sampling)
    if (
        "\ufffd" not in said
    ):  # llama.cpp takes a character's overlong encoding for the character; Python, for several broken ones
        schema.read(said)


@pytest.mark.model
@pytest.mark.parametrize(
    "properties",
    [
        {"machine": {"type": "string", "maxLength": 30}, "kind": {"enum": ["pump", 'valve "b"', "déjà 😀"]}},
        {"hours": {"type": "integer"}, "bar": {"type": "number"}, "leaks": {"type": "boolean"}, "owner": {"type": "null"}},
        {"parts": {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 9}, "minItems": 2, "maxItems": 4}},
        {"flags": {"type": "array", "items": {"const": False}, "minItems": 12}},
    ],
)
def test_the_real_model_answers_in_json(smollm: LlamaModel, properties: dict[str, Any]) -> None:
    schema = JsonSchema({"type": "object", "properties": properties, "required": list(properties)})
    value = schema.read(answer(smollm, PROMPT, Sampling(200, grammar=schema.grammar)))
    assert list(value) == list(properties)


def test_the_layout_is_that_of_json_dumps(model: LlamaModel) -> None:
    schema = JsonSchema(
        {"type": "object", "properties": {'a"\n': {"type": "array", "items": {"type": "integer"}}}, "required": ['a"\n']}
    )
    assert takes(model, schema.grammar, r'{"a\"\n": [1, -20, 0]}')
    for text in (r'{"a\"\n":[1]}', r'{"a\"\n": [01]}', r'{"a\"\n": [1,2]}', r'{"a\"\n": [true]}', "{}", r'{"a\"\n": 1}'):
        assert not takes(model, schema.grammar, text)


@pytest.mark.parametrize(
    "text",
    ['"a\nb"', '"abcd"', "'a'", '"a', "NaN", "[" * 9999, '{"a": "a"}', "1", "", '"\\ud800"', "1" * 9999, '"a" "b"', '"\x7f"'],
)
def test_an_answer_that_is_not_of_the_schema_is_never_read(text: str) -> None:
    schema = JsonSchema({"type": "string", "maxLength": 3})
    with pytest.raises(ModelError, match=r"not the JSON that was asked for, or was cut off; allow it more tokens"):
        schema.read(text)


def test_json_knows_true_from_one_and_numbers_from_infinity() -> None:
    assert JsonSchema({"const": True}).read("true") is True
    integer, number = {"type": "integer"}, {"type": "number"}
    for schema, text in (({"const": True}, "1"), ({"enum": [1]}, "true"), (integer, "true"), (number, "1e999")):
        with pytest.raises(ModelError):
            JsonSchema(schema).read(text)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def wide(count: int, inner: Any) -> dict[str, Any]:
    properties = {str(number): inner for number in range(count)}
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "https://example.com/schema.json"}, "has no type that is taken"),
        ({"type": "string", "$ref": "#/x"}, r"has \$ref, which is not taken; only minLength, maxLength may stand there"),
        ({"type": "integer", "minimum": 3}, "has minimum, which is not taken; nothing more may stand there"),
        ({"type": "string", "pattern": ".*"}, "pattern"),
        ({"anyOf": [{"type": "null"}]}, "has no type"),
        ({"type": ["null", "string"]}, "has no type"),
        ({}, "has no type"),
        ([], "is not an object; give a JSON schema"),
        ({"type": "object"}, "has no properties; name some"),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, "not required; put all of them"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a", "b"]}, "does not name"),
        (wide(1, {"type": "null"}) | {"additionalProperties": True}, "does not name"),
        (wide(1, {"type": "lamp"}), "^property '0' of the schema has no type"),
        ({"type": "array"}, "^items of the schema is not an object"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 10**9}, "from 0 to 2,000"),
        ({"type": "string", "maxLength": MAX_LENGTH + 1}, "from 0 to 2,000"),
        ({"type": "string", "minLength": True}, "from 0 to 2,000"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "has a minLength over its maxLength"),
        ({"enum": []}, "from one to"),
        ({"enum": list(range(MAX_VALUES + 1))}, "from one to"),
        ({"enum": "ab"}, "from one to"),
        ({"enum": [1], "const": 1}, "either a const or an enum"),
        ({"enum": [[]]}, "other than strings"),
        ({"enum": [float("nan")]}, "other than strings"),
        ({"const": 10**5000}, "other than strings"),
        ({"type": "string", "enum": ["a", 1]}, "not of its type"),
        ({"const": "\ud800"}, "half a character"),
        ({"const": "a" * 70_000}, "grammar of more than"),
        (nested(MAX_DEPTH), "too deep or too much"),
        (wide(MAX_SCHEMAS, {"type": "null"}), "too deep or too much"),
        (wide(40_000, {"type": "null"}), "too deep or too much"),  # at once: it took a quarter of a minute
        (wide(5, {"type": "null"}) | {"required": ["p"] * 100_000}, "too deep or too much"),
        (wide(20, {"type": "string", "maxLength": 1001}), "makes the answer too long"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_line(schema: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        JsonSchema(schema)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_schema_that_holds_itself_is_too_deep() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    with pytest.raises(InputError, match="too deep"):
        JsonSchema(schema)


def longest() -> Iterator[dict[str, Any]]:
    """Arrays of as many items as there may be, in each other."""
    for least in (0, MAX_LENGTH):
        schema: dict[str, Any] = {"type": "number"}
        for _ in range(MAX_DEPTH - 1):
            schema = {"type": "array", "minItems": least, "maxItems": MAX_LENGTH, "items": schema}
            yield schema
    yield {"type": "array", "maxItems": MAX_LENGTH, "items": {"enum": ["a"] * MAX_VALUES}}


def test_the_largest_schemas_are_ones_that_llama_cpp_takes(model: LlamaModel) -> None:
    long = {"type": "string", "minLength": MAX_LENGTH}
    for schema in (nested(MAX_DEPTH - 1), wide(10, long), *longest(), {"enum": ["(" * 20 + str(n) for n in range(MAX_VALUES)]}):
        grammar = JsonSchema(schema).grammar
        assert grammar.count("(") <= MAX_GROUPS
        assert not takes(model, grammar, "x")


@given(chosen=st.lists(line.filter(bool), min_size=1, max_size=5))
def test_one_of_several_texts(model: LlamaModel, chosen: list[str]) -> None:
    grammar = one_of(chosen)
    assert all(takes(model, grammar, text) for text in chosen)
    assert not takes(model, grammar, f"{''.join(chosen)}x")


@pytest.mark.parametrize("chosen", [[], [""], ["a"] * (MAX_VALUES + 1), ["\ud800"], ["a\0"]])
def test_texts_that_no_grammar_can_hold(chosen: list[str]) -> None:
    with pytest.raises(InputError, match="grammar"):
        one_of(chosen)


@given(words=st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_a_text_in_given_words(model: LlamaModel, words: list[str], seed: int) -> None:
    grammar = in_words(words, 6)
    spoken = answer(model, PROMPT, Sampling(60, temperature=50.0, seed=seed, grammar=grammar)).split()
    assert 1 <= len(spoken) <= 6
    assert {word.rstrip(",;.") for word in spoken} <= set(words)
    assert takes(model, grammar, f"{words[0]}, {words[-1]}; {words[0]} {words[-1]}.")
    for text in ("", "e", f"{words[0]}..", f"{words[0]} e", f" {words[0]}", " ".join([words[0]] * 7)):
        assert not takes(model, grammar, text)
