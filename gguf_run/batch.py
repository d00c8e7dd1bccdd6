"""The input tensors of one batch: which token goes where."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_run.kv_cache import Sequence


def block_table(pages: List[list[int]], n_page_max: int) -> npt.NDArray[np.int32]:
    """The block table (n_seq, n_page_max) of sequences with these pages; unused entries are 0."""
    table = np.zeros((len(pages), n_page_max), np.int32)
    for row, of_sequence in zip(table, pages, strict=True):
        row[: len(of_sequence)] = of_sequence
    return table


def page_tables(seq: Sequence, n_page_max: int) -> dict[str, npt.NDArray[np.int32]]:
    """The block tables of a batch of `seq` alone, by leaf name."""
    tables = {"block_table": block_table([seq.pages], n_page_max)}
    if seq.window is not None:
        pages = [[0] * seq.window.first + seq.window.pages]
        tables["block_table_window"] = block_table(pages, n_page_max)
    return tables


@dataclass(slots=True)
class BatchInputs:
    """The input tensors of one batch, gathered sequence by sequence."""

    tokens: list[int] = field(default_factory=list)
    positions: list[npt.NDArray[Any]] = field(default_factory=list)
    slots: list[npt.NDArray[Any]] = field(default_factory=list)
    seq_ids: list[int] = field(default_factory=list)
    pages: list[list[int]] = field(default_factory=list)
    out_rows: list[int] = field(default_factory=list)
    states: list[tuple[int, int]] = field(default_factory=list)
    window_slots: list[npt.NDArray[Any]] = field(default_factory=list)
    window_pages: list[list[int]] = field(default_factory=list)

    def add(
        self, seq: Sequence, tokens: list[int], slots: npt.NDArray[Any], every_row: bool
    ) -> None:
        """`tokens` have just been appended to `seq` and lie in `slots`."""
        first = len(self.tokens)
        self.tokens += tokens
        self.positions.append(np.arange(len(seq) - len(tokens), len(seq)))
        self.slots.append(slots)
        self.seq_ids += [len(self.pages)] * len(tokens)
        self.pages.append(list(seq.pages))
        if seq.window is not None:
            self.window_slots.append(seq.window_slots(len(tokens)))
            self.window_pages.append([0] * seq.window.first + seq.window.pages)
        last = len(self.tokens)
        self.out_rows += range(first if every_row else last - 1, last)

    def add_state(self, seq: Sequence, n_tok: int) -> None:
        """The rows of the state that `seq` reads and writes, if it has one."""
        if seq.state is not None:
            self.states.append(seq.state.advance(n_tok))

    def pad(self, n_tok: int) -> None:
        """Fill up to `n_tok` tokens with repetitions of the last one, which are stored nowhere."""
        n = n_tok - len(self.tokens)
        self.tokens += self.tokens[-1:] * n
        self.positions.append(np.repeat(self.positions[-1][-1:], n))
        self.slots.append(np.full(n, -1, np.int32))
        self.seq_ids += self.seq_ids[-1:] * n
        if self.window_slots:
            self.window_slots.append(np.full(n, -1, np.int32))

    def arrays(self, n_page_max: int) -> dict[str, npt.NDArray[Any]]:
        """By leaf name, int32."""
        state_in, state_out = np.asarray(self.states, np.int32).reshape(-1, 2).T
        windows = {}
        if self.window_pages:
            windows["slots_window"] = np.concatenate(self.window_slots)
            windows["block_table_window"] = block_table(self.window_pages, n_page_max)
        return windows | {
            "tokens": np.asarray(self.tokens, np.int32),
            "token_types": np.zeros(len(self.tokens), np.int32),
            "positions": np.concatenate(self.positions).astype(np.int32),
            "slots": np.concatenate(self.slots),
            "seq_ids": np.asarray(self.seq_ids, np.int32),
            "block_table": block_table(self.pages, n_page_max),
            "out_rows": np.asarray(self.out_rows, np.int32),
            "state_in": state_in,
            "state_out": state_out,
        }
