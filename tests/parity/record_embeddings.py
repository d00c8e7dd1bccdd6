"""Record llama.cpp's embeddings: `python tests/parity/record_embeddings.py [names]`.

It needs the extra `parity`. Without names it records every model of `embedded.py`. Commit the files
that it writes under data/embeddings/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from embedded import EMBEDDED, Embedded, write  # the folder is on the path only now
from oracle import Oracle
from recorded import sha256

from gguf_run.embedding import POOLINGS

N_CTX = 128
LENGTHS = (5, 70, 17, 1)
"""Of the texts: shorter and longer than a page of the cache."""


def random_texts(name: str, n_vocab: int) -> list[list[int]]:
    """Tokens of several texts: begin of text, then any but the specials."""
    rng = np.random.default_rng([*name.encode()])
    return [[1, *rng.integers(3, n_vocab, n - 1).tolist()] for n in LENGTHS]


def record(name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.gguf"
        write(name, path)
        with Oracle(path, N_CTX) as oracle:
            texts = random_texts(name, oracle.n_vocab)
        found = {}
        for pooling in POOLINGS:
            with Oracle(path, N_CTX, pooling=POOLINGS.index(pooling)) as oracle:
                found[pooling] = np.concatenate([oracle.embedding(text) for text in texts])
        Embedded(
            sha256=sha256(path),
            n_ctx=N_CTX,
            tokens=np.concatenate(texts).astype(np.int32),
            lengths=np.array(LENGTHS, np.int32),
            **found,
        ).save(name)
    print(name)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or EMBEDDED:
        record(chosen)
