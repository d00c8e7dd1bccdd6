"""A sequence in a file, with its keys, values and recurrent states: what was computed once goes on
without being computed again.

The file: `MAGIC`; the length of the header, 8 bytes; the header, JSON; then for each cache of the
model, in the order of its graph, the rows that belong to the sequence, as the backend holds them;
last the SHA-256 of all that. Numbers are little-endian. The sizes of the rows are the model's and
not the file's to say. A file fits one model, known by its weights (see `fingerprint`), and one
choice of cache types; any device can read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gguf_run.arch import BatchShape
from gguf_run.engine import Engine, GraphSource
from gguf_run.errors import ModelError
from gguf_run.graph import Graph, Kind, Tensor
from gguf_run.kv_cache import PAGE_SIZE, Sequence, pages_for

MAGIC = b"gguf-run state 1\n"
MAX_HEADER = 16 << 20
"""Bytes; beyond that it holds no chat but somebody's attack on the memory."""

_SAMPLE = 1024
"""Bytes of each weight that tell it from another model's."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one cache that belong to a sequence."""

    leaf: Tensor
    numbers: list[int]
    n_tok: int | None
    """Tokens from the first page on; None where rows are no pages."""

    @property
    def n_bytes(self) -> int:
        return len(self.numbers) * (self.leaf.n_bytes // self.leaf.shape[0])

    def without_strangers(self, data: Bytes) -> Bytes:
        """Rows (n_row, n_bytes) with nothing in the last page but the sequence's own tokens."""
        used = PAGE_SIZE if self.n_tok is None else self.n_tok % PAGE_SIZE or PAGE_SIZE
        if used < PAGE_SIZE:
            n_head = self.leaf.shape[1]
            data[-1].reshape(n_head, PAGE_SIZE, -1)[:, used:] = 0
        return data


def save_state(
    path: Path, engine: Engine, seq: Sequence | None, content: Mapping[str, Any]
) -> None:
    """Write a sequence, or none, and what else shall be found in the file: `content`, for JSON.

    A file that is there already is replaced when the new one is complete. Raises `OSError`.
    """
    header = _identity(engine) | {"content": content} | _described(seq)
    text = json.dumps(header).encode()
    if len(text) > MAX_HEADER:
        raise ModelError(
            f"{path}: a saved state has room for {MAX_HEADER} bytes of text and tokens, and these "
            f"are {len(text)}"
        )
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = hashlib.sha256()
            for part in (MAGIC, len(text).to_bytes(8, "little"), text):
                digest.update(part)
                file.write(part)
            for rows in [] if seq is None else _rows(engine, seq):
                data = engine.backend.read_cache(rows.leaf, rows.numbers)
                data = rows.without_strangers(data)
                digest.update(data.data)
                file.write(data.data)
            file.write(digest.digest())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_state(path: Path, engine: Engine) -> tuple[Sequence | None, dict[str, Any]]:
    """The sequence of a file, if it holds one, in the engine's caches, and its `content`.

    Raises:
        ModelError: the file is none of `save_state`'s, is damaged, or of another model.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        header, text = _read_header(path, file)
        _check_model(path, engine, header)
        tokens = header["tokens"]
        seq = engine.new_sequence() if tokens else None
        try:
            _fill(path, engine, seq, header, file, text)
        except BaseException:
            if seq is not None:
                seq.close()
            raise
    content: dict[str, Any] = header["content"]
    return seq, content


def is_state(path: Path) -> bool:
    """Whether a file begins as `save_state` writes it."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def fingerprint(source: GraphSource) -> str:
    """What a model's keys and values depend on, in short: the hyper-parameters, and of the weights
    that its graph has name, type, shape and beginning."""
    digest = hashlib.sha256()
    keys = source.hp.keys
    for key in sorted(keys.metadata):
        if key.startswith(f"{keys.arch}."):
            value = keys.metadata[key]
            shown = value.tolist() if isinstance(value, np.ndarray) else value
            digest.update(f"{key} {shown!r}\n".encode("utf-8", "surrogateescape"))
    for leaf in source.graph(BatchShape(1)).leaves:
        if leaf.kind is Kind.WEIGHT:
            digest.update(f"{leaf.name} {leaf.dtype.name} {leaf.shape}\n".encode())
            digest.update(source.weights.data(leaf.name)[:_SAMPLE].data)
    return digest.hexdigest()


# The header


def _identity(engine: Engine) -> dict[str, Any]:
    hp, cache = engine.source.hp, engine.source.cache
    return {
        "architecture": hp.arch,
        "name": hp.name,
        "fingerprint": fingerprint(engine.source),
        "cache_type_k": cache.type_k.name,
        "cache_type_v": cache.type_v.name,
        "has_window": engine.window_pool.n_page > 0,
        "n_ctx": engine.n_ctx,
    }


def _described(seq: Sequence | None) -> dict[str, Any]:
    if seq is None:
        return {"tokens": [], "window_first": 0, "state": None}
    return {
        "tokens": seq.tokens,
        "window_first": 0 if seq.window is None else seq.window.first,
        "state": None if seq.state is None else seq.state.history,
    }


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """The header, checked for its form, and its text."""
    if file.read(len(MAGIC)) != MAGIC:
        raise ModelError(f"{path}: expected a saved state, found another kind of file")
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise _damaged(path, f"a header of at most {MAX_HEADER} bytes", f"one of {length}")
    text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "a header in JSON", str(error)) from None
    if not (isinstance(header, dict) and _is_well_formed(header)):
        raise _damaged(path, "a header as save_state writes it", "another one")
    return header, text


def _is_well_formed(header: Mapping[str, Any]) -> bool:
    tokens, state = header.get("tokens"), header.get("state", "none")
    return (
        isinstance(header.get("content"), dict)
        and isinstance(tokens, list)
        and all(type(token) is int for token in tokens)
        and type(header.get("window_first")) is int
        and (state is None or (isinstance(state, list) and all(type(n) is int for n in state)))
    )


def _check_model(path: Path, engine: Engine, header: Mapping[str, Any]) -> None:
    """Raises `ModelError` where the state is none of this model's, with these caches."""
    for key, value in _identity(engine).items():
        found = header.get(key)
        if found == value or key in ("n_ctx", "name"):
            continue
        if key.startswith("cache_type"):
            raise ModelError(
                f"{path}: expected a state with {key} {value}, found {found!r:.40}; open the model "
                f"with that, or remove the file"
            )
        if key == "has_window":
            raise ModelError(
                f"{path}: the state was saved with a context of {header.get('n_ctx')!r:.40}, in "
                f"which windows have other pages than in one of {engine.n_ctx}; open the model "
                "with that (n_ctx, -c), or remove the file"
            )
        own, other = engine.source.hp.name or "unnamed", header.get("name") or "unnamed"
        raise ModelError(
            f"{path}: expected a state of this model ({own}), found one of another "
            f"({other!s:.80}): its {key} is {found!r:.80}, and this model's {value!r:.80}"
        )
    n_vocab, n_tok = engine.source.hp.n_vocab, len(header["tokens"])
    if n_tok > engine.n_ctx:
        raise ModelError(
            f"{path}: the state has {n_tok} tokens, and the context is of {engine.n_ctx}; "
            "raise n_ctx (-c)"
        )
    if not all(0 <= token < n_vocab for token in header["tokens"]):
        raise _damaged(path, f"tokens in 0..{n_vocab - 1}", "others")


# The rows


def _planes(graph: Graph) -> list[tuple[Tensor, str]]:
    """The caches, and the input that says which rows of them a step writes."""
    writers = {t.base: t.srcs[2].name for t in graph.tensors if t.op in ("set_rows", "set_states")}
    return [(leaf, writers[leaf]) for leaf in graph.leaves if leaf.kind is Kind.CACHE]


def _rows(engine: Engine, seq: Sequence) -> list[_Rows]:
    """The rows of a sequence in each cache."""
    n_tok = len(seq.tokens)
    found = []
    for leaf, writer in _planes(engine.source.graph(BatchShape(1))):
        if writer == "state_out":
            assert seq.state is not None
            found.append(_Rows(leaf, seq.state.rows if n_tok else [], None))
        elif writer == "slots_window":
            assert seq.window is not None
            n_page = pages_for(n_tok) - seq.window.first
            found.append(_Rows(leaf, seq.window.pages[:n_page], n_tok))
        else:
            found.append(_Rows(leaf, seq.pages[: pages_for(n_tok)], n_tok))
    return [rows for rows in found if rows.numbers]


def _fill(
    path: Path,
    engine: Engine,
    seq: Sequence | None,
    header: Mapping[str, Any],
    file: BinaryIO,
    text: bytes,
) -> None:
    """Read the rows of an empty sequence, all that is behind the header."""
    if seq is not None:
        _resume(path, seq, header)
    rows_of_caches = [] if seq is None else _rows(engine, seq)
    digest = hashlib.sha256(MAGIC + len(text).to_bytes(8, "little") + text)
    expected = sum(rows.n_bytes for rows in rows_of_caches) + digest.digest_size
    start = file.tell()
    found = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if found != expected:
        raise _damaged(path, f"{expected} bytes of keys and values", f"{found}")
    for rows in rows_of_caches:
        data = file.read(rows.n_bytes)
        digest.update(data)
        array = np.frombuffer(data, np.uint8).reshape(len(rows.numbers), -1)
        engine.backend.write_cache(rows.leaf, rows.numbers, array)
    if file.read() != digest.digest():
        raise _damaged(path, "the checksum of its content", "another")


def _resume(path: Path, seq: Sequence, header: Mapping[str, Any]) -> None:
    """Give an empty sequence the tokens of the header, and rows for them."""
    tokens, first, history = header["tokens"], header["window_first"], header["state"]
    if seq.window is not None:
        if not 0 <= first <= seq.window.needed_from(len(tokens)):
            raise _damaged(path, "the pages that the window sees", f"those from {first} on")
        seq.window.first = first
    if seq.state is not None and not (history and seq.state.resume(len(tokens), history)):
        raise _damaged(path, "a recurrent state", f"{history!r:.40}")
    seq.append(tokens)


def _damaged(path: Path, expected: str, found: str) -> ModelError:
    return ModelError(f"{path}: expected {expected}, found {found}; the saved state is damaged")
