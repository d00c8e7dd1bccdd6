"""llama.cpp's embeddings of tiny models, as record_embeddings.py has recorded them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from encoders import ENCODERS, write_encoder
from make_gguf import write_model
from recorded import DATA

FOLDER = DATA / "embeddings"

DECODERS = ("llama", "qwen3", "gpt2", "gemma2", "granitemoe", "lfm2")
"""Models that write text, too: of plain RMS and layer norms, with windows, scaled, recurrent."""

EMBEDDED = (*DECODERS, *ENCODERS)


def write(name: str, path: Path) -> None:
    """Write the tiny model `name` to `path`."""
    (write_encoder if name in ENCODERS else write_model)(name, path)


@dataclass(frozen=True, slots=True)
class Embedded:
    """llama.cpp's embeddings of several texts, by pooling; not normalised.

    `tokens` are those of all texts, `lengths` how many each has; `none` (n_tokens, n_embd), the
    others (n_texts, n_embd) float32; `sha256` is that of the model file.
    """

    sha256: str
    n_ctx: int
    tokens: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    none: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    cls: npt.NDArray[np.float32]
    last: npt.NDArray[np.float32]

    @property
    def texts(self) -> list[list[int]]:
        """The tokens of each text."""
        return [part.tolist() for part in np.split(self.tokens, np.cumsum(self.lengths)[:-1])]

    def of(self, pooling: str) -> npt.NDArray[np.float32]:
        """The embeddings by one pooling."""
        found: npt.NDArray[np.float32] = getattr(self, pooling)
        return found

    def save(self, name: str) -> None:
        FOLDER.mkdir(exist_ok=True)
        np.savez_compressed(FOLDER / f"{name}.npz", **asdict(self))

    @classmethod
    def load(cls, name: str) -> Embedded:
        with np.load(FOLDER / f"{name}.npz") as stored:
            values = {key: stored[key] for key in stored.files}
        scalars = {key: values[key].item() for key in ("sha256", "n_ctx")}
        return cls(**{**values, **scalars})
