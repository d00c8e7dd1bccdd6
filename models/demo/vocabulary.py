"""The demo model's vocabulary, and the stories as rows of token ids."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import sentencepiece as spm

from .corpus import stories

UNK, BOS, EOS = 0, 1, 2
CHUNK = 2000
"""Stories packed together. Fixed, so that rows do not depend on the number of processes."""


def train_vocabulary(seed: int, n_stories: int, n_vocab: int) -> bytes:
    """A sentencepiece model (BPE, byte fallback) of the first stories, serialised."""
    model = io.BytesIO()
    lines = (line for text in stories(seed, 0, n_stories) for line in text.split("\n") if line)
    spm.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=n_vocab,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        split_digits=True,
        required_chars="".join(map(chr, range(0x21, 0x7F))),
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


def _pack(
    vocabulary: bytes, seed: int, row_len: int, end: int, start: int
) -> npt.NDArray[np.uint16]:
    """Rows of whole stories, each BOS ... EOS; the rest of a row is UNK, which nothing predicts."""
    processor = spm.SentencePieceProcessor(model_proto=vocabulary)
    encoded = processor.encode(
        list(stories(seed, start, min(CHUNK, end - start))),
        add_bos=True,
        add_eos=True,
        num_threads=1,
    )
    rows: list[list[int]] = [[]]
    for ids in encoded:
        if rows[-1] and len(rows[-1]) + len(ids) > row_len:
            rows.append([])
        rows[-1] += ids[:row_len]
    packed = np.full((len(rows), row_len), UNK, dtype=np.uint16)
    for row, row_ids in zip(packed, rows, strict=True):
        row[: len(row_ids)] = row_ids
    return packed


def pack_stories(
    vocabulary: bytes, seed: int, start: int, n_stories: int, row_len: int, n_processes: int
) -> npt.NDArray[np.uint16]:
    """Stories from number `start` on, as token rows (n_rows, row_len)."""
    end = start + n_stories
    work = partial(_pack, vocabulary, seed, row_len, end)
    with ProcessPoolExecutor(n_processes) as pool:
        return np.concatenate(list(pool.map(work, range(start, end, CHUNK))))
