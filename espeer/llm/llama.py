"""A GGUF model run by llama.cpp's low-level API, which lets the work done on a prompt be used again for the next one.

What prompts have in common is evaluated once and kept as bytes: the beginning of all prompts of a kind, and each note.
:mod:`espeer.llm.layout` says where their tokens stand, :mod:`espeer.llm.placing` joins them, :mod:`espeer.llm.runs` goes on
from there, and this module puts what several runs want evaluated into one evaluation.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import llama_cpp

from espeer.errors import ModelError, ModelNotFound, PromptTooLong
from espeer.llm import native
from espeer.llm.chat import Chat, PlainChat, TemplateChat
from espeer.llm.context import SEQUENCES, Cell, Context, Interrupted
from espeer.llm.cores import usable_cores
from espeer.llm.embedding import Embedder
from espeer.llm.hidden import MOST_TOKENS, HiddenStates
from espeer.llm.layout import Layout, PlacedNote, in_slots, slots
from espeer.llm.model import Prompt, Run, Sampling
from espeer.llm.placing import LEFT, TOGETHER, Ask, Placer
from espeer.llm.runs import Generation, LlamaRun, Scoring, Warming
from espeer.llm.states import Spilling, States
from espeer.llm.weights import check_header, digest
from espeer.records import model_name

DEFAULT_CONTEXT: Final = 4096
DEFAULT_KEEP: Final = 128 * 1024 * 1024
"""Bytes of states that are kept in memory: some twenty notes of 80 tokens, each for three ranks, with the default model."""


_TEXTS: Final = 512
"""So many texts' tokens are remembered: a prompt is measured before it is evaluated, and notes come back."""
_MOST_ACTIVE: Final = (SEQUENCES - LEFT) // (1 + TOGETHER)


class LlamaModel:
    """A :class:`espeer.llm.model.Model` on llama.cpp. Make one with :meth:`load`."""

    width: Final = 8

    def __init__(
        self, model: Any, context: Context, *, trained: int, name: str, digest: str, states: States, keeps: bool
    ) -> None:
        self.name: Final = name
        self.digest: Final = digest
        self.context: Final = context.cells
        self._model = model
        self._trained = trained
        self._context = context
        self._active: list[LlamaRun] = []  # those that have cells, or will
        self._closed = False
        self._vocabulary = native.Vocabulary(model)
        self._tokens = lru_cache(_TEXTS)(self._tokenise)
        self._chat = _chat(self._vocabulary)
        self._states = states
        # What an interrupted evaluation changed cannot be taken back there, and the run would be lost.
        self._interruptible = not native.is_recurrent(model)
        self._joins = keeps and context.shifts and not native.is_recurrent(model)
        self._placer = Placer(context, states, model=f"{digest}, {context.build}")

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        keep: int | None = None,
        spill: Spilling | None = None,
    ) -> Self:
        """Load a GGUF file.

        :param context: the most tokens of a prompt with its answer; at most what the model was trained for, which with
            :data:`DEFAULT_CONTEXT` is the default.
        :param threads: at most, and by default, the cores that this process may use.
        :param keep: bytes of states to keep in memory, by default :data:`DEFAULT_KEEP`; with 0 prompts are evaluated whole.
        :param spill: where states go that there is no room for in memory.
        :raises ModelNotFound: no such file.
        :raises ModelUnreadable: llama.cpp cannot load it, or there is not enough memory.
        """
        if not path.is_file():
            raise ModelNotFound(f"there is no model file {path}; check the path")
        check_header(path)
        model = native.load(path)
        opened = None
        try:
            trained = int(llama_cpp.llama_model_n_ctx_train(model))
            tokens, cores = min(context or DEFAULT_CONTEXT, trained), usable_cores()
            opened = Context(model, cells=tokens, threads=max(1, min(threads or cores, cores)))
            name = model_name(path.name.lower().removesuffix(".gguf"))
            kept = DEFAULT_KEEP if keep is None else keep
            states = States(kept, spill if kept else None)
            return cls(model, opened, trained=trained, name=name, digest=digest(path), states=states, keeps=kept > 0)
        except BaseException:
            if opened is not None:
                opened.close()
            llama_cpp.llama_model_free(model)
            raise

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""
        self._check_open()
        return len(self._vocabulary.tokens(text, special=False))

    def size(self, prompt: Prompt) -> int:
        """Number of tokens of ``prompt``, chat template included.

        Where the gaps between its notes lead beyond the positions that the model was trained for, they count.
        """
        return self._size(self._lay_out(prompt))

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        """Begin an answer. One that falls into a loop ends there, but for one with a grammar.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        :raises ModelError: the grammar cannot be parsed.
        """
        layout = self._lay_out(prompt)
        self._check_room(layout, sampling.max_tokens, "answer")
        stop = self._chat.stop
        return Generation(self._context, self._placer, self._vocabulary, layout, sampling, stop=stop, ended=self._ended)

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        """Begin to find out how likely each continuation is after the prompt. The prompt is evaluated once.

        :raises PromptTooLong: the prompt and the longest continuation do not fit the context.
        """
        layout = self._lay_out(prompt)
        endings = [self._vocabulary.tokens(text, special=False, first=False) for text in continuations]
        self._check_room(layout, max(map(len, endings), default=0), "longest choice")
        room = self.context - self._size(layout)
        return Scoring(self._context, self._placer, layout, endings, room=room, ended=self._ended)

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        """Begin to work out the states of a prompt's beginning, and of its notes for the first ``ranks`` ranks.

        :raises PromptTooLong: they do not fit the context.
        """
        layout, notes = self._to_warm(prompt, ranks)
        run = Warming(self._context, self._placer, layout.prefix, notes, ended=self._ended)
        if run.need > self.context:
            raise PromptTooLong(f"the notes do not fit the context of {self.name}, {self.context} tokens; warm fewer")
        return run

    def is_warm(self, prompt: Prompt, ranks: int) -> bool:
        """Whether :meth:`warm` would have nothing to do: all is kept, or the model cannot join what is kept."""
        layout, notes = self._to_warm(prompt, ranks)
        return not self._joins or self._placer.is_warm(layout.prefix, notes)

    def forget(self, notes: Collection[str]) -> None:
        """Drop what is kept of notes; see :meth:`espeer.llm.model.Model.forget`."""
        self._states.forget(notes)

    def step(self, runs: Sequence[Run]) -> None:
        """Bring runs on by one evaluation; see :meth:`espeer.llm.model.Model.step`."""
        self._check_open()
        asks = self._asks([run for run in runs if isinstance(run, LlamaRun)])
        # Positions are moved with the next evaluation, whoever's it is, and wrongly if that is interrupted.
        alone = next(((run, ask) for run in self._active if (ask := run.ask()) is not None and ask.alone), None)
        # Those that want one token more first: whoever reads an answer waits for the least.
        turns = [alone] if alone else sorted(asks, key=lambda pair: len(pair[1].cells) - pair[1].taken)
        cells: list[Cell] = []
        parts: list[tuple[LlamaRun, int, int]] = []
        for run, ask in turns:
            part = ask.cells[ask.taken : ask.taken + self._context.step - len(cells)]
            if part:
                parts.append((run, ask.taken, len(part)))
                cells += part
        if not cells:
            return
        try:
            self._context.evaluate(cells, interruptible=self._interruptible and alone is None)
        except Interrupted:
            return
        except ModelError as error:
            self._start_over([run for run, _, _ in parts], error)
            return
        row = 0
        for run, first, count in parts:
            run.hear(first, count, row)
            row += count

    def embedder(self) -> Embedder:
        """Open a context of its own on these weights that gives texts as vectors. Close it before the model.

        :raises ModelUnreadable: there is not enough memory.
        """
        self._check_open()
        cells = min(MOST_TOKENS, self._trained)
        context = Context(self._model, cells=cells, threads=self._context.threads, hidden=True)
        return HiddenStates(context, lambda text: self._tokens(text, special=False, first=True))

    def interrupt(self) -> None:
        """End the step at work early, or the next one, where the model can do a step again. For any thread."""
        self._context.interrupt()

    def statistics(self) -> dict[str, Any]:
        """What is kept, and how often it was of use."""
        return {"joins_notes": self._joins, **self._states.statistics()}

    def close(self) -> None:
        """Free the memory. Closing again does nothing; any other use then raises ModelError."""
        if self._closed:
            return
        self._closed = True
        for run in tuple(self._active):
            run.close()
        self._states.flush()
        self._context.close()
        llama_cpp.llama_model_free(self._model)

    def _check_open(self) -> None:
        if self._closed:  # llama.cpp would crash the process
            raise ModelError(f"the model {self.name} is closed; load it again")

    def _check_room(self, layout: Layout, rest: int, what: str) -> None:
        if not layout.tail:
            raise ModelError("there is nothing in the prompt for the model to go on from; ask something")
        size = self._size(layout)
        if size + rest > self.context:
            raise PromptTooLong(
                f"the prompt has {size} tokens and the {what} may have {rest}, but the context of {self.name} "
                f"is {self.context}; shorten the text or ask for less"
            )

    def _size(self, layout: Layout) -> int:
        return max(layout.tokens, layout.positions - (self._trained - self.context))

    def _lay_out(self, prompt: Prompt) -> Layout:
        """The prompt's tokens: its beginning, which all prompts of a kind share, its notes, and the rest."""
        self._check_open()
        prefix: list[int] = []
        notes: list[tuple[str, tuple[int, ...]]] = []
        tail: list[int] = []
        begun = own = False  # own: what follows is this prompt's alone
        for piece in self._chat.lay_out(prompt):
            tokens = self._tokens(piece.text, special=piece.layout, first=not begun) if piece.text else ()
            begun = begun or bool(piece.text)
            if piece.note is not None and self._joins and prefix and not own:
                notes.append((piece.note, tokens))
            elif (piece.layout or piece.fixed) and not notes and not own:
                prefix += tokens
            else:
                own = True
                tail += tokens
        if prefix and not notes and not tail:
            tail.append(prefix.pop())  # the last token is evaluated each time, for its logits
        return Layout(tuple(prefix), in_slots(notes), tuple(tail))

    def _tokenise(self, text: str, *, special: bool, first: bool) -> tuple[int, ...]:
        tokens = self._vocabulary.tokens(text, special=special, first=first)
        begin = self._vocabulary.begin
        if first and begin is not None and tokens[:1] != [begin]:
            tokens.insert(0, begin)  # some templates write it themselves
        return tuple(tokens)

    def _to_warm(self, prompt: Prompt, ranks: int) -> tuple[Layout, list[PlacedNote]]:
        layout = self._lay_out(prompt)
        notes = [
            PlacedNote(note.id, note.tokens, rank * slots(len(note.tokens))) for note in layout.notes for rank in range(ranks)
        ]
        return layout, notes

    def _asks(self, runs: Sequence[LlamaRun]) -> list[tuple[LlamaRun, Ask]]:
        """What the runs want evaluated, of those that there is room for."""
        asks = []
        full = False  # then later ones wait behind the one that found no room: small ones would keep a large one out for ever
        for run in runs:
            if run.done or (full and run not in self._active):
                continue
            if not self._admit(run, runs):
                full = True
                continue
            ask = run.ask()
            if ask is not None:
                asks.append((run, ask))
        return asks

    def _admit(self, run: LlamaRun, runs: Sequence[LlamaRun]) -> bool:
        """Give a run its cells, if there are enough: sequences that were left give way, and runs that are not at work."""
        if run in self._active:
            return True
        while self._context.cells - self._taken() < run.need and self._placer.forget_oldest():
            pass
        for other in tuple(self._active):
            if other not in runs and not self._has_room(run):
                other.pause()
                self._active.remove(other)
        if self._has_room(run):
            self._active.append(run)
        return run in self._active

    def _has_room(self, run: LlamaRun) -> bool:
        return len(self._active) < _MOST_ACTIVE and self._taken() + run.need <= self._context.cells

    def _taken(self) -> int:
        return self._placer.cells + sum(run.need for run in self._active)

    def _ended(self, run: LlamaRun) -> None:
        if run in self._active:
            self._active.remove(run)

    def _start_over(self, failed: Sequence[LlamaRun], error: ModelError) -> None:
        """After a failure nothing is known of what is in the context: forget it. The runs at work fail, others begin anew."""
        for run in failed:
            run.fail(error)
        for run in tuple(self._active):
            run.pause()
        self._active.clear()
        while self._placer.forget_oldest():
            pass
        self._context.clear()


def _chat(vocabulary: native.Vocabulary) -> Chat:
    template = vocabulary.metadata("tokenizer.chat_template")
    if not template:
        return PlainChat()
    begin, end = llama_cpp.llama_vocab_bos(vocabulary.handle), llama_cpp.llama_vocab_eos(vocabulary.handle)
    return TemplateChat(template, bos=vocabulary.text(begin), eos=vocabulary.text(end))
