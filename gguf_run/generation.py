"""From a prompt to text: the loop of sampling and decoding, with its stop conditions."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from gguf_run.engine import Engine, Floats
from gguf_run.kv_cache import Sequence as Tokens
from gguf_run.sampling import Sampled, TopLogprobs
from gguf_run.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf_run.chat import ToolCall
    from gguf_run.prompt_cache import Kept
    from gguf_run.structured import Drawer


@dataclass(frozen=True, slots=True)
class Chunk:
    """One step of a generation.

    `text` is what this token lets be shown: it may be empty (half a character, or what may yet turn
    out to be a stop string) and joins to the whole. `logprob` is the natural logarithm of the
    token's probability by the model alone. The last chunk alone has a `finish_reason`: "stop" (an
    end-of-generation token, a stop string, or the end of a grammar's text) or "length"
    (`max_tokens`, or the context is full). `top_logprobs` has the likeliest tokens with their
    `logprob`, as many as were asked for. `reasoning` and `tool_calls`: see `Answer`.
    """

    text: str
    token: int
    logprob: float
    finish_reason: str | None = None
    top_logprobs: TopLogprobs = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class Timings:
    """Tokens and seconds of a generation: of the prompt, and of each step after it.

    `n_cached` of the prompt's tokens had been evaluated before.
    """

    n_prompt: int = 0
    n_cached: int = 0
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


class Generation(Iterator[Chunk]):
    """The chunks of one generation, made as they are asked for; `timings` tells how it went.

    The prompt is evaluated when the first chunk is asked for. The end, `close`, or nobody's holding
    it any more gives the sequence's pages back.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        drawer: Drawer,
        prompt: list[int],
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        *,
        special: bool = False,
        kept: Kept | None = None,
    ) -> None:
        """Args:
        special: spell control tokens out in the text.
        kept: gives a sequence with tokens that `prompt` begins with.
        """
        self.timings = Timings()
        text = _Text(tokenizer, stop, special)
        self._chunks = _generate(engine, drawer, text, prompt, max_tokens, self.timings, kept)

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """End early and give the sequence's pages back."""
        self._chunks.close()


def _generate(
    engine: Engine,
    drawer: Drawer,
    text: _Text,
    prompt: list[int],
    max_tokens: int | None,
    timings: Timings,
    kept: Kept | None,
) -> Generator[Chunk, None, None]:
    if max_tokens is not None and max_tokens <= 0 and kept is None:
        return
    drawn = [] if kept is None else kept.drawn
    with kept or closing(engine.new_sequence()) as seq:
        start = perf_counter()
        timings.n_prompt, timings.n_cached = len(prompt), len(seq)
        new = prompt[len(seq) :]
        if kept is not None and seq.state is not None and len(new) > 1:
            # So the state before the last token stays: from there the same prompt can go on again.
            engine.evaluate(seq, new[:-1])
            new = new[-1:]
        logits = engine.evaluate(seq, new)[-1]
        timings.prompt_seconds = perf_counter() - start
        for token in prompt:
            drawer.chain.accept(token)
        # The last token that fits the context has no room to be evaluated, and needs none.
        limit = seq.n_left + 1 if max_tokens is None else min(max_tokens, seq.n_left + 1)
        if limit <= 0:
            return
        start = perf_counter()
        with closing(_tokens(engine, drawer, seq, logits, limit)) as tokens:
            for sampled in tokens:
                timings.n_generated += 1
                drawn.append(sampled.token)
                end = "length" if timings.n_generated == limit else None
                end = "stop" if drawer.is_complete else end
                chunk = text.chunk(sampled.token, sampled.logprob, end)
                if sampled.top:
                    chunk = replace(chunk, top_logprobs=sampled.top)
                timings.generate_seconds += perf_counter() - start
                if chunk.finish_reason is not None:
                    break
                yield chunk
                start = perf_counter()
    # Whoever stops asking after the last chunk leaves nothing open.
    yield chunk


def _tokens(
    engine: Engine, drawer: Drawer, seq: Tokens, logits: Floats, limit: int
) -> Generator[Sampled, None, None]:
    """At most `limit` tokens, drawn after `logits`; by the device itself where it can."""
    sampled = drawer.draw(logits)
    yield sampled
    sampling = drawer.on_device() if limit > 1 else None
    followers = sampling and engine.follow(seq, sampled.token, limit - 1, sampling)
    if followers:
        with closing(followers):
            for token, log_prob in followers:
                yield drawer.chain.accept_drawn(token, log_prob)
        return
    for _ in range(limit - 1):
        logits = engine.forward([(seq, [sampled.token])], meanwhile=drawer.look_ahead)[-1]
        sampled = drawer.draw(logits)
        yield sampled


class _Text:
    """Turns sampled tokens into chunks: detokenises, watches for the end."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], special: bool) -> None:
        self._tokenizer = tokenizer
        self._streamer = tokenizer.streamer(special, continuation=True)
        self._stop = StopStrings(stop)

    def chunk(self, token: int, logprob: float, end: str | None) -> Chunk:
        """The chunk of `token`; `end` is the reason where no other will follow."""
        if self._tokenizer.is_eog(token):
            return self._ended("", token, logprob)
        text, stopped = self._stop.push(self._streamer.push(token))
        if stopped:
            return Chunk(text, token, logprob, "stop")
        if end is not None:
            return self._ended(text, token, logprob, end)
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
