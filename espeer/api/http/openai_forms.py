"""OpenAI's requests and responses, as much of them as a node can do.

After the reference at https://platform.openai.com/docs/api-reference. What it has and a node cannot do is refused where the
answer would be another one (tools, images, several answers, log-probabilities), and else passed over, as unknown parameters
are: clients send much that they do not need.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from espeer.api import views
from espeer.asking import MAX_SEED, AskOptions, Ending
from espeer.conversation import Turn
from espeer.errors import InputError
from espeer.inference import Answer
from espeer.llm.grammar import JsonSchema, any_object

Json = dict[str, Any]

FINISH: Final[dict[Ending, str]] = {"stop": "stop", "length": "length", "loop": "stop", "time": "length"}
"""OpenAI's word for why an answer ended. The extension ``espeer`` holds ours."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(_Lenient):
    """A part of a message."""

    type: str
    text: str = ""


class Message(_Lenient):
    """A message of a conversation; "developer" is another word for "system"."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    def turn(self) -> Turn:
        """Return it as the node takes it.

        :raises InputError: something in it is no text.
        """
        if isinstance(self.content, list):
            if other := next((part.type for part in self.content if part.type != "text"), None):
                raise InputError(f"messages: this model reads text only, not {other[:40]!r}")
            text = "\n".join(part.text for part in self.content)
        else:
            text = self.content or ""
        return Turn("system" if self.role == "developer" else self.role, text)


class Schema(_Lenient):
    """A JSON schema with its name."""

    form: Json = Field(alias="schema")


class ResponseFormat(_Lenient):
    """The form that the answer is held to."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Schema | None = None

    def grammar(self) -> str | None:
        """Return the grammar of that form.

        :raises InputError: of a schema that is not taken, see :mod:`espeer.llm.grammar`.
        """
        if self.type == "json_object":
            return any_object()
        if self.type == "text":
            return None
        if self.json_schema is None:
            raise InputError("response_format: json_schema is missing; give {'name': ..., 'schema': ...}")
        try:
            return JsonSchema(self.json_schema.form).grammar
        except InputError as error:
            raise InputError(f"response_format: {error}") from error


class StreamOptions(_Lenient):
    """What a stream holds besides the answer."""

    include_usage: bool | None = None


class _Request(_Lenient):
    """What both kinds of requests have."""

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = Field(default=None, description="0 if there is none, where OpenAI has 1.")
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logprobs: bool | int | None = None

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with how many tokens there were."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _options(self, *, max_tokens: int | None, grammar: str | None, capture: bool) -> AskOptions:
        if self.n not in (None, 1):
            raise InputError("n: this node gives one answer at a time; leave it out, or ask again")
        if self.logprobs is not None and self.logprobs is not False:
            raise InputError("logprobs: this node does not give them; leave it out")
        return AskOptions(
            max_tokens=max_tokens,
            temperature=self.temperature or 0.0,
            seed=None if self.seed is None else self.seed % (MAX_SEED + 1),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            grammar=grammar,
            capture=capture,
        )


class ChatRequest(_Request):
    """What ``/v1/chat/completions`` takes."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None

    def asked(self) -> list[Turn]:
        """Return the conversation.

        :raises InputError: something in it is no text, or tools are offered.
        """
        if self.tools or self.functions:
            raise InputError("tools: this node's model calls none; leave them out")
        return [message.turn() for message in self.messages]

    def options(self, *, capture: bool) -> AskOptions:
        """Return how to answer.

        :raises InputError: an option cannot be met.
        """
        if self.top_logprobs:
            raise InputError("top_logprobs: this node does not give them; leave it out")
        return self._options(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            grammar=self.response_format.grammar() if self.response_format else None,
            capture=capture,
        )


class CompletionRequest(_Request):
    """What ``/v1/completions`` takes; the prompt is a question, as with ``/v1/chat/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    def asked(self) -> list[Turn]:
        """Return the prompt as a conversation."""
        return [Turn("user", self.prompt if isinstance(self.prompt, str) else self.prompt[0])]

    def options(self, *, capture: bool) -> AskOptions:
        """Return how to answer.

        :raises InputError: an option cannot be met.
        """
        if self.echo or self.suffix or self.best_of not in (None, 1):
            raise InputError("echo, suffix and best_of: this node has none of them; leave them out")
        return self._options(max_tokens=self.max_tokens, grammar=None, capture=capture)


class Envelope:
    """The objects of one response, alike but for what is in them.

    :param chat: of ``/v1/chat/completions``; else of ``/v1/completions``.
    :param name: the response's own.
    :param created: seconds since the Unix epoch.
    """

    def __init__(self, *, chat: bool, name: str, created: int, model: str) -> None:
        self._chat = chat
        self._fields: Final[Json] = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{name}", "created": created, "model": model}

    def whole(self, answer: Answer) -> Json:
        """Return the response that is not streamed."""
        said: Json = {"message": {"role": "assistant", "content": answer.text}} if self._chat else {"text": answer.text}
        choices = [self._choice(said, FINISH[answer.finish])]
        return self._made("", choices) | {"usage": usage(answer), "espeer": extension(answer)}

    def piece(self, text: str, *, first: bool) -> Json:
        """Return the chunk of a piece of the answer."""
        return self._made(".chunk", [self._choice(self._delta(text, first=first), None)])

    def end(self, answer: Answer) -> Json:
        """Return the chunk that says why the answer ended."""
        said: Json = {"delta": {}} if self._chat else {"text": ""}
        return self._made(".chunk", [self._choice(said, FINISH[answer.finish])]) | {"espeer": extension(answer)}

    def usage(self, answer: Answer) -> Json:
        """Return the chunk that says how many tokens there were."""
        return self._made(".chunk", []) | {"usage": usage(answer)}

    def _delta(self, text: str, *, first: bool) -> Json:
        if not self._chat:
            return {"text": text}
        return {"delta": {"role": "assistant", "content": text} if first else {"content": text}}

    def _choice(self, said: Json, finish: str | None) -> Json:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish}

    def _made(self, chunk: str, choices: Sequence[Json]) -> Json:
        kind = f"chat.completion{chunk}" if self._chat else "text_completion"
        return self._fields | {"object": kind, "choices": choices}


def usage(answer: Answer) -> Json:
    """Return how many tokens were read and written."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.answer_tokens,
        "total_tokens": answer.prompt_tokens + answer.answer_tokens,
    }


def extension(answer: Answer) -> Json:
    """Return what OpenAI has no place for: the answer's number, the experiences that it rests on, and so on."""
    return {key: value for key, value in views.answer(answer).items() if key != "answer"}


def model(name: str, *, created: int) -> Json:
    """Show a model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "espeer"}
