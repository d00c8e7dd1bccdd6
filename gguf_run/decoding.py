"""Tokens that a device draws by itself: the host's part of the loop.

Each step's token is the next one's input without the host, which reads a token while the step that
evaluates it runs. So a step may turn out to be one too many, and is taken back.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gguf_run.batch import BatchInputs, page_tables
from gguf_run.kv_cache import Sequence, pages_for

UNREAD = -1
"""Stands for a token that the device has drawn and the host has not read."""

Arrays = Mapping[str, npt.NDArray[Any]]


class DecodeLoop(Protocol):
    """Steps of one token a sequence that feed each other on the device."""

    @property
    def n_unread(self) -> int:
        """Steps that have been started and not read."""

    def begin(self, inputs: Arrays) -> None:
        """Set the inputs of the first step and what those of later ones come from: "state_spare",
        the rows (n_seq,) of recurrent states that the second step writes, and, where the plan draws
        by a chain of samplers, "draws", "recent" and "history" (`DeviceSampling.arrays`)."""

    def start(self, tables: Arrays) -> None:
        """Start a step; the block tables, by leaf name, have a page for its successor's token."""

    def read(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Tokens and log probabilities of the oldest step that has not been read."""


def follow(
    loop: DecodeLoop, seq: Sequence, token: int, limit: int, drawing: Arrays
) -> Generator[tuple[int, float], None, None]:
    """Tokens after `token` with their log probabilities, at most `limit`; see `Engine.follow`.

    `drawing`: what `begin` needs to draw by a chain of samplers.
    """
    n_page_max = pages_for(seq.n_ctx)
    try:
        loop.begin(_first_inputs(seq, token, n_page_max) | dict(drawing))
        _start(loop, seq, n_page_max)
        for n in range(1, limit + 1):
            if n < limit and seq.n_left:
                seq.append([UNREAD])
                if seq.state is not None:
                    seq.state.go_on()
                _start(loop, seq, n_page_max)
            if not loop.n_unread:
                return
            tokens, log_probs = loop.read()
            if loop.n_unread:
                seq.tokens[-1] = int(tokens[0])
            yield int(tokens[0]), float(log_probs[0])
    finally:
        if loop.n_unread:
            while loop.n_unread:
                loop.read()
            seq.rollback(len(seq) - 1)
        if seq.state is not None:
            seq.state.end()


def _first_inputs(seq: Sequence, token: int, n_page_max: int) -> dict[str, npt.NDArray[Any]]:
    inputs = BatchInputs()
    inputs.add(seq, [token], seq.append([token]), every_row=False)
    if seq.state is None:
        return inputs.arrays(n_page_max)
    read, written, spare = seq.state.begin()
    inputs.states.append((read, written))
    return inputs.arrays(n_page_max) | {"state_spare": np.array([spare], np.int32)}


def _start(loop: DecodeLoop, seq: Sequence, n_page_max: int) -> None:
    seq.reserve(len(seq) + 1)
    loop.start(page_tables(seq, n_page_max))
