"""Opening a file with a large vocabulary takes no time worth speaking of."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import benchmark_script
from gguf_bytes import ARRAY, STRING, array, gguf, pair, string

from gguf_run.loader import open_gguf

LEAST_RATIO = 20
MOST_SECONDS = 0.3


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_script("open_header")


def vocabulary(path: Path, n_tokens: int) -> Path:
    """A file with ``n_tokens`` tokens, their types, and twice as many merges."""
    rng = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyzĠĠéß世界"

    def words(n: int) -> list[bytes]:
        return [string("".join(rng.choices(letters, k=rng.randint(1, 12)))) for _ in range(n)]

    tokens = pair("tokenizer.ggml.tokens", ARRAY, array(STRING, words(n_tokens)))
    types = pair("tokenizer.ggml.token_type", ARRAY, array(5, [b"\1\0\0\0"] * n_tokens))
    merges = pair("tokenizer.ggml.merges", ARRAY, array(STRING, words(2 * n_tokens)))
    path.write_bytes(gguf([tokens, types, merges]))
    return path


def test_a_vocabulary_of_150k_tokens_opens_in_under_300_ms(
    tmp_path: Path, benchmark: ModuleType
) -> None:
    path = vocabulary(tmp_path / "large.gguf", 150_000)
    assert benchmark.seconds(lambda: open_gguf(path), 3) < MOST_SECONDS


def test_opening_is_many_times_faster_than_the_gguf_package(
    tmp_path: Path, benchmark: ModuleType
) -> None:
    ours, theirs = benchmark.compare(vocabulary(tmp_path / "medium.gguf", 15_000))
    assert theirs / ours > LEAST_RATIO
