"""How fast a generation went, in words."""

from __future__ import annotations

from gguf_run.generation import Timings


def speeds(timings: Timings) -> str:
    """Tokens and tokens a second, of the prompt and of what came after it."""
    t = timings
    cached = f" ({t.n_cached} of them kept)" if t.n_cached else ""
    return (
        f"prompt {t.n_prompt} tokens{cached}, {_rate(t.n_prompt - t.n_cached, t.prompt_seconds)} | "
        f"generation {t.n_generated} tokens, {_rate(t.n_generated, t.generate_seconds)}"
    )


def _rate(n_tok: int, seconds: float) -> str:
    return f"{n_tok / seconds:.1f} tok/s" if seconds else "no time"
