"""What is recorded of a model, and where it lies: written by record.py, read by the tests."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parent / "data"
DEMO_MODEL = Path(__file__).parents[2] / "models" / "demo.gguf"


@dataclass(frozen=True, slots=True)
class Recorded:
    """llama.cpp's answers for one tiny model.

    `logits` (n_row, n_vocab) f32 are those at the positions `rows` of `tokens`, run with a context
    of `n_ctx`; `greedy` are the likeliest tokens after `prompt`, each ahead of the second likeliest
    by at least `margin`; `sha256` is that of the model file.
    """

    sha256: str
    n_ctx: int
    tokens: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    logits: npt.NDArray[np.float32]
    prompt: npt.NDArray[np.int32]
    greedy: npt.NDArray[np.int32]
    margin: float

    def save(self, name: str) -> None:
        DATA.mkdir(exist_ok=True)
        np.savez_compressed(DATA / f"{name}.npz", **asdict(self))

    @classmethod
    def load(cls, name: str) -> Recorded:
        with np.load(DATA / f"{name}.npz") as stored:
            values = {key: stored[key] for key in stored.files}
        scalars = {key: values[key].item() for key in ("sha256", "n_ctx", "margin")}
        return cls(**{**values, **scalars})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def nmse(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Sum of the squared differences over the sum of the expected squares."""
    difference = found.astype(np.float64) - expected
    return float(np.sum(difference**2) / np.sum(expected.astype(np.float64) ** 2))
