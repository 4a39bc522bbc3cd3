"""A GGUF model run by llama.cpp's low-level API, which lets the work done on a prompt be used again for the next one.

The tokens of the last prompt stay in llama.cpp's cache as sequence 0. A new prompt is compared with them, and only what comes
after the common beginning is evaluated: a system prompt, few-shot examples or recalled experiences cost once. Choices to score
get a sequence each, which shares the prompt's cells.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Self

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError, ModelNotFound, ModelUnreadable, PromptTooLong
from espeer.llm import native
from espeer.llm.chat import Chat, PlainChat, TemplateChat
from espeer.llm.loops import is_looping
from espeer.llm.model import Checkpoint, Prompt, Sampling, Score
from espeer.llm.sampler import Sampler
from espeer.llm.stream import TextStream
from espeer.llm.weights import check_header, digest
from espeer.records import model_name

DEFAULT_CONTEXT: Final = 4096
_SEQUENCES: Final = 16
_STEP_WORK: Final = 20_000_000_000
"""Parameters times tokens evaluated between two checkpoints: a quarter of a second on two cores."""


class LlamaModel:
    """A :class:`espeer.llm.model.Model` on llama.cpp. Make one with :meth:`load`."""

    def __init__(self, model: Any, handle: Any, *, context: int, name: str, digest: str) -> None:
        self.name: Final = name
        self.digest: Final = digest
        self.context: Final = context
        self._model = model
        self._handle = handle
        self._memory = llama_cpp.llama_get_memory(handle)
        self._step = step_tokens(int(llama_cpp.llama_model_n_params(model)))
        self._batch = llama_cpp.llama_batch_init(self._step, 0, 1)
        self._cached: list[int] = []  # exactly the tokens whose cells are in sequence 0
        self._closed = False
        self._vocabulary = native.Vocabulary(model)
        self._chat = _chat(self._vocabulary)

    @classmethod
    def load(cls, path: Path, *, context: int | None = None, threads: int | None = None) -> Self:
        """Load a GGUF file.

        :param context: the most tokens of a prompt with its answer; at most what the model was trained for, which with
            :data:`DEFAULT_CONTEXT` is the default.
        :param threads: at most, and by default, the cores that this process may use.
        :raises ModelNotFound: no such file.
        :raises ModelUnreadable: llama.cpp cannot load it, or there is not enough memory.
        """
        if not path.is_file():
            raise ModelNotFound(f"there is no model file {path}; check the path")
        check_header(path)
        native.begin()
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), native.model_params())
        if not model:
            raise ModelUnreadable(f"llama.cpp cannot load {path}: {native.complaint()}; get the file anew, or name another")
        handle = None
        try:
            tokens = min(context or DEFAULT_CONTEXT, int(llama_cpp.llama_model_n_ctx_train(model)))
            handle = _context(model, tokens, max(1, min(threads or native.cores(), native.cores())))
            name = model_name(path.name.lower().removesuffix(".gguf"))
            return cls(model, handle, context=tokens, name=name, digest=digest(path))
        except BaseException:
            if handle is not None:
                llama_cpp.llama_free(handle)
            llama_cpp.llama_model_free(model)
            raise

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""
        self._check_open()
        return len(self._vocabulary.tokens(text, special=False))

    def size(self, prompt: Prompt) -> int:
        """Number of tokens of ``prompt``, chat template included."""
        return len(self._tokens(prompt))

    def generate(self, prompt: Prompt, sampling: Sampling, checkpoint: Checkpoint) -> Iterator[str]:
        """Yield the answer in pieces of text, each valid Unicode.

        An answer that falls into a loop ends there, but for one with a grammar, of which a part is worth nothing.
        Errors are raised when the first piece is asked for.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        :raises ModelError: the grammar cannot be parsed, or the evaluation fails.
        """
        tokens = self._tokens(prompt)
        self._check_room(len(tokens), sampling.max_tokens, "answer")
        asked = len(tokens)
        text = TextStream((*sampling.stop, *self._chat.stop))
        with closing(Sampler(self._vocabulary, sampling)) as sampler:
            for _ in range(sampling.max_tokens):
                self._evaluate(tokens, checkpoint)
                token = sampler.choose(self._handle)
                if self._vocabulary.ends(token):
                    break
                tokens.append(token)
                if sampling.grammar is None and is_looping(tokens[asked:]):
                    break
                if piece := text.feed(self._vocabulary.piece(token)):
                    yield piece
                if text.stopped:
                    return
        if piece := text.finish():
            yield piece

    def score(self, prompt: Prompt, continuations: Sequence[str], checkpoint: Checkpoint) -> list[Score]:
        """How likely each continuation is after the prompt. The prompt is evaluated once.

        :raises PromptTooLong: the prompt and the longest continuation do not fit the context.
        :raises ModelError: the evaluation fails.
        """
        tokens = self._tokens(prompt)
        endings = [self._vocabulary.tokens(text, special=False, first=False) for text in continuations]
        self._check_room(len(tokens), max(map(len, endings), default=0), "longest choice")
        self._evaluate(tokens, checkpoint)
        first = _log_softmax(self._logits(-1))
        scores = [Score(float(first[ending[0]]) if ending else 0.0, len(ending)) for ending in endings]
        for wave in _waves(endings, room=self.context - len(tokens)):
            for index, logprob in self._score_wave(endings, wave, len(tokens), checkpoint):
                scores[index] = Score(scores[index].logprob + logprob, scores[index].tokens)
        return scores

    def close(self) -> None:
        """Free the memory. Closing again does nothing; any other use then raises ModelError."""
        if self._closed:
            return
        self._closed = True
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._handle)
        llama_cpp.llama_model_free(self._model)

    def _check_open(self) -> None:
        if self._closed:  # llama.cpp would crash the process
            raise ModelError(f"the model {self.name} is closed; load it again")

    def _check_room(self, prompt: int, rest: int, what: str) -> None:
        if prompt + rest > self.context:
            raise PromptTooLong(
                f"the prompt has {prompt} tokens and the {what} may have {rest}, but the context of {self.name} "
                f"is {self.context}; shorten the text or ask for less"
            )

    def _tokens(self, prompt: Prompt) -> list[int]:
        self._check_open()
        vocabulary = self._vocabulary
        tokens: list[int] = []
        for piece in self._chat.lay_out(prompt):
            tokens += vocabulary.tokens(piece.text, special=piece.layout, first=not tokens)
        if vocabulary.begin is not None and tokens[:1] != [vocabulary.begin]:  # some templates write it themselves
            tokens.insert(0, vocabulary.begin)
        return tokens

    def _evaluate(self, tokens: list[int], checkpoint: Checkpoint) -> None:
        """Bring ``tokens`` into sequence 0 and the logits after its last token into llama.cpp's output."""
        self._check_open()
        self._keep(min(_common(self._cached, tokens), len(tokens) - 1))  # the last is evaluated again, for its logits
        for start in range(len(self._cached), len(tokens), self._step):
            checkpoint()
            step = tokens[start : start + self._step]
            self._decode([(token, start + index, 0) for index, token in enumerate(step)], every_logits=False)
            self._cached += step

    def _keep(self, count: int) -> None:
        if count == len(self._cached):
            return
        if llama_cpp.llama_memory_seq_rm(self._memory, 0, count, -1):
            del self._cached[count:]
        else:  # a recurrent model cannot go back
            self._forget()

    def _forget(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, False)  # the cells only, not their contents
        self._cached.clear()

    def _score_wave(
        self, endings: Sequence[list[int]], wave: Sequence[int], start: int, checkpoint: Checkpoint
    ) -> Iterator[tuple[int, float]]:
        """Log-probabilities of the tokens after the first of each ending in ``wave``, with the ending's index."""
        cells = [
            (index, sequence, position)
            for sequence, index in enumerate(wave, 1)
            for position in range(len(endings[index]) - 1)  # what would come after the last token is not asked for
        ]
        try:
            for sequence in range(1, len(wave) + 1):
                llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
            for first in range(0, len(cells), self._step):
                checkpoint()
                step = cells[first : first + self._step]
                batch = [(endings[index][position], start + position, sequence) for index, sequence, position in step]
                self._decode(batch, every_logits=True)
                for row, (index, _, position) in enumerate(step):
                    yield index, float(_log_softmax(self._logits(row))[endings[index][position + 1]])
        finally:
            for sequence in range(1, len(wave) + 1):
                llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _decode(self, cells: Sequence[tuple[int, int, int]], *, every_logits: bool) -> None:
        """Evaluate ``(token, position, sequence)`` cells; logits come of each, or only of the last."""
        batch = self._batch
        batch.n_tokens = len(cells)
        for row, (token, position, sequence) in enumerate(cells):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = every_logits or row == len(cells) - 1
        native.begin()
        code = llama_cpp.llama_decode(self._handle, batch)
        if code != 0:
            self._forget()  # how much of the batch got in is not known
            raise ModelError(f"llama.cpp cannot evaluate the prompt (code {code}): {native.complaint()}; try again")

    def _logits(self, row: int) -> NDArray[np.float32]:
        pointer = llama_cpp.llama_get_logits_ith(self._handle, row)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary.size,))


def step_tokens(parameters: int) -> int:
    """How many tokens to evaluate between two checkpoints: a power of two from 16 to 128, less for larger models.

    It depends on the weights only, not on the clock: another grouping of the tokens gives slightly other logits.
    """
    tokens = 128
    while tokens > 16 and tokens * parameters > _STEP_WORK:  # noqa: PLR2004 - below 16 prefill is as slow as decoding
        tokens //= 2
    return tokens


def _context(model: Any, tokens: int, threads: int) -> Any:
    params = llama_cpp.llama_context_default_params()
    step = step_tokens(int(llama_cpp.llama_model_n_params(model)))
    params.n_ctx = tokens
    params.n_batch = params.n_ubatch = step
    params.n_seq_max = _SEQUENCES
    params.n_threads = params.n_threads_batch = threads
    params.kv_unified = True  # the sequences share the cells of the prompt they have in common
    params.swa_full = True  # with a sliding window only, the cache of an earlier prompt could not be used again
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # no faster here, and scores vary with the grouping
    params.no_perf = True
    native.begin()
    handle = llama_cpp.llama_init_from_model(model, params)
    if not handle:
        raise ModelUnreadable(f"no context of {tokens} tokens: {native.complaint()}; ask for a smaller one, or free memory")
    return handle


def _chat(vocabulary: native.Vocabulary) -> Chat:
    template = vocabulary.metadata("tokenizer.chat_template")
    if not template:
        return PlainChat()
    begin, end = llama_cpp.llama_vocab_bos(vocabulary.handle), llama_cpp.llama_vocab_eos(vocabulary.handle)
    return TemplateChat(template, bos=vocabulary.text(begin), eos=vocabulary.text(end))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    if one == other[: len(one)]:
        return len(one)
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _waves(endings: Sequence[list[int]], *, room: int) -> Iterator[list[int]]:
    """Group the endings of more than one token, by index, so that a group fits the sequences and ``room`` cells."""
    wave: list[int] = []
    used = 0
    for index, ending in enumerate(endings):
        size = len(ending) - 1
        if size < 1:
            continue
        if wave and (used + size > room or len(wave) == _SEQUENCES - 1):
            yield wave
            wave, used = [], 0
        wave.append(index)
        used += size
    if wave:
        yield wave


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))
