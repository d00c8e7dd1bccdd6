"""From a prompt to text: the loop of sampling and decoding, with its stop conditions."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from gguf_run.engine import Engine
from gguf_run.sampling import SamplerChain
from gguf_run.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Chunk:
    """One step of a generation.

    `text` is what this token lets be shown: it may be empty (half a character, or what may yet turn
    out to be a stop string) and joins to the whole. `logprob` is the natural logarithm of the
    token's probability by the model alone. The last chunk alone has a `finish_reason`: "stop" (an
    end-of-generation token or a stop string) or "length" (`max_tokens`, or the context is full).
    """

    text: str
    token: int
    logprob: float
    finish_reason: str | None = None


@dataclass(slots=True)
class Timings:
    """Tokens and seconds of a generation: of the prompt, and of each step after it."""

    n_prompt: int = 0
    prompt_seconds: float = 0.0
    n_generated: int = 0
    generate_seconds: float = 0.0


@dataclass(slots=True)
class StopStrings:
    """Watches a text for stop strings, which may be split over chunks."""

    stops: Sequence[str]
    _held: str = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Add text -> what can be shown by now, and whether a stop string has come.

        What follows the beginning of the first stop string is never shown.
        """
        self._held += text
        found = [i for i in (self._held.find(stop) for stop in self.stops) if i >= 0]
        if found:
            shown, self._held = self._held[: min(found)], ""
            return shown, True
        keep = max((self._overlap(stop) for stop in self.stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def flush(self) -> str:
        """What was held back in case a stop string came."""
        rest, self._held = self._held, ""
        return rest

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


@dataclass(slots=True)
class Generation(Iterator[Chunk]):
    """The chunks of one generation, made as they are asked for; `timings` tells how it went.

    The prompt is evaluated when the first chunk is asked for. `close` (or the end) gives the
    sequence's pages back.
    """

    engine: Engine
    tokenizer: Tokenizer
    chain: SamplerChain
    prompt: list[int]
    max_tokens: int | None
    stop: Sequence[str]
    timings: Timings = field(default_factory=Timings)
    _steps: Generator[Chunk, None, None] = field(init=False)

    def __post_init__(self) -> None:
        self._steps = self._run()

    def __next__(self) -> Chunk:
        return next(self._steps)

    def close(self) -> None:
        """End early and give the sequence's pages back."""
        self._steps.close()

    def _run(self) -> Generator[Chunk, None, None]:
        if self.max_tokens is not None and self.max_tokens <= 0:
            return
        seq = self.engine.new_sequence()
        try:
            start = perf_counter()
            logits = self.engine.evaluate(seq, self.prompt)[-1]
            self.timings.n_prompt = len(self.prompt)
            self.timings.prompt_seconds = perf_counter() - start
            for token in self.prompt:
                self.chain.accept(token)
            text = _Text(self.tokenizer, self.stop)
            while True:
                start = perf_counter()
                sampled = self.chain.sample(logits)
                self.chain.accept(sampled.token)
                self.timings.n_generated += 1
                full = self.timings.n_generated == self.max_tokens or not seq.n_left
                chunk = text.chunk(sampled.token, sampled.logprob, full)
                if chunk.finish_reason is None:
                    logits = self.engine.forward([(seq, [sampled.token])])[-1]
                self.timings.generate_seconds += perf_counter() - start
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            seq.close()


class _Text:
    """Turns sampled tokens into chunks: detokenises, watches for the end."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._streamer = tokenizer.streamer(continuation=True)
        self._stop = StopStrings(stop)

    def chunk(self, token: int, logprob: float, last: bool) -> Chunk:
        """The chunk of `token`; `last` says that no other will follow."""
        if self._tokenizer.is_eog(token):
            return self._ended("", token, logprob)
        text, stopped = self._stop.push(self._streamer.push(token))
        if stopped:
            return Chunk(text, token, logprob, "stop")
        if last:
            return self._ended(text, token, logprob, "length")
        return Chunk(text, token, logprob)

    def _ended(self, text: str, token: int, logprob: float, reason: str = "stop") -> Chunk:
        """The last chunk, with all that was held back, unless that completes a stop string."""
        rest, stopped = self._stop.push(self._streamer.flush())
        text += rest if stopped else rest + self._stop.flush()
        return Chunk(text, token, logprob, "stop" if stopped else reason)


def check_stops(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Stop strings as a tuple; an empty string would stop everything and is refused."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if not all(isinstance(s, str) and s for s in stops):
        raise ValueError(f"stop: expected non-empty strings, found {stops!r}")
    return stops


def no_end_bias(tokenizer: Tokenizer) -> dict[int, float]:
    """The logit bias by which no end-of-generation token is ever drawn."""
    return dict.fromkeys(sorted(tokenizer.eog_ids), -np.inf)
