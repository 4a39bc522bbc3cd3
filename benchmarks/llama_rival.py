"""llama-cpp-python as it comes, and llama.cpp's bare loop, in a process of their own.

The process has no part of espeer in it: not its way to let threads wait, which the whole process would share, and not its
context. It loads the same weights with the same number of threads. One line of JSON asks, one line of JSON answers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True, slots=True)
class Setup:
    """What both sides have in common.

    :ivar model: the weights.
    :ivar context: the most tokens of a prompt with its answer.
    :ivar threads: for prefill and for decoding.
    """

    model: Path
    context: int
    threads: int


class Rival:
    """The process, seen from the benchmark.

    :param espeers_openmp: let its threads wait as espeer's do, in place of how OpenMP does by default.
    :ivar waits: which of the two, in words.
    """

    def __init__(self, setup: Setup, *, espeers_openmp: bool = False) -> None:
        self.setup = setup
        self.waits = "as espeer's" if espeers_openmp else "as OpenMP's do by default"
        environment = dict(os.environ)
        if not espeers_openmp:
            for name in _OPENMP:
                environment.pop(name, None)
        command = [sys.executable, "-m", __name__, str(setup.model), str(setup.context), str(setup.threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )

    def __enter__(self) -> Self:
        """Wait until the weights are loaded."""
        self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the process."""
        self._process.communicate()

    def first(self, prompt: str) -> float:
        """Return the seconds that ``Llama.create_completion`` takes to its first piece of text."""
        return float(self._ask({"do": "first", "prompt": prompt})["seconds"])

    def rate(self, prompt: str, tokens: int, *, as_espeer: bool = False) -> float:
        """Return the tokens a second of a bare loop of ``llama_decode`` and a greedy sampler, after the first token.

        :param as_espeer: with espeer's context (several sequences, no flash attention) in place of llama.cpp's default.
        """
        do = "rate_as_espeer" if as_espeer else "rate"
        return float(self._ask({"do": do, "prompt": prompt, "tokens": tokens})["rate"])

    def sample(self) -> float:
        """Return the seconds that a prompt of some 100 tokens and 8 tokens after it take, the better of two times."""
        texts = [f"{word} and so on. " * 20 for word in ("One", "Two")]
        return min(self.first(text) + 8 / self.rate(text, 8) for text in texts)

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the process was started without a pipe")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"llama-cpp-python's process ended with {self._process.wait()}; its reason stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def fastest(setup: Setup) -> Iterator[Rival]:
    """Give the one that is the faster here and now: the default is made for a machine on which nothing else runs."""
    with Rival(setup) as default, Rival(setup, espeers_openmp=True) as other:
        yield min((default, other), key=Rival.sample)


# -- in the process


class _HighLevel:
    """``llama_cpp.Llama`` with its defaults, its cache of the last prompt among them."""

    def __init__(self, setup: Setup) -> None:
        from llama_cpp import Llama

        self._llama = Llama(
            str(setup.model),
            n_ctx=setup.context,
            n_threads=setup.threads,
            n_threads_batch=setup.threads,
            verbose=False,
        )

    def first(self, prompt: str) -> dict[str, float]:
        started = time.perf_counter()
        tokens = self._llama.tokenize(prompt.encode(), add_bos=True, special=True)
        if tokens[:2] == 2 * [self._llama.token_bos()]:  # the layout has one already
            del tokens[0]
        pieces = self._llama.create_completion(tokens, max_tokens=16, temperature=0.0, stream=True)
        piece = next(iter(pieces))
        seconds = time.perf_counter() - started
        if not piece["choices"]:
            raise RuntimeError("llama-cpp-python gave no piece")
        pieces.close()
        return {"seconds": seconds}


class _Bare:
    """llama.cpp with a loop around it that does nothing but decode and sample."""

    def __init__(self, setup: Setup, *, as_espeer: bool = False) -> None:
        import llama_cpp

        self._api = llama_cpp
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(setup.model), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = setup.context
        params.n_threads = params.n_threads_batch = setup.threads
        if as_espeer:
            params.n_seq_max = 64
            params.kv_unified = params.swa_full = params.no_perf = True
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self._sampler, llama_cpp.llama_sampler_init_greedy())

    def rate(self, prompt: str, tokens: int) -> dict[str, float]:
        api = self._api
        api.llama_memory_clear(api.llama_get_memory(self._context), False)
        text = prompt.encode()
        asked = (api.llama_token * (len(text) + 2))()
        count = api.llama_tokenize(self._vocabulary, text, len(text), asked, len(asked), True, True)
        api.llama_decode(self._context, api.llama_batch_get_one(asked, count))
        token = (api.llama_token * 1)(api.llama_sampler_sample(self._sampler, self._context, -1))
        started = time.perf_counter()
        for _ in range(tokens):
            api.llama_decode(self._context, api.llama_batch_get_one(token, 1))
            token[0] = api.llama_sampler_sample(self._sampler, self._context, -1)
        return {"rate": tokens / (time.perf_counter() - started)}


def _without_amx() -> None:
    """Keep both from llama.cpp's AMX kernels, as espeer does: see :func:`espeer.llm.native.model_params`."""
    from llama_cpp import llama_cpp

    plain = llama_cpp.llama_model_default_params

    def careful() -> Any:
        params = plain()
        params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
        return params

    llama_cpp.llama_model_default_params = careful
    sys.modules["llama_cpp"].llama_model_default_params = careful  # type: ignore[attr-defined]


def _serve(setup: Setup) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # llama.cpp may print
    _without_amx()
    sides = {"first": _HighLevel(setup).first, "rate": _Bare(setup).rate, "rate_as_espeer": _Bare(setup, as_espeer=True).rate}

    def answer(values: Mapping[str, float]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer({})  # the weights are loaded
    for line in sys.stdin:
        question = json.loads(line)
        answer(sides[question.pop("do")](**question))


if __name__ == "__main__":
    _serve(Setup(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
