"""Models of a known shape with random weights: as good as a file for measuring speed.

Which tensors there are is what the architecture asks for while it builds its graph. Their types are
those that llama.cpp's quantizer gives without an importance matrix: the same for all tensors of
four small models in Q4_0, Q5_0, Q8_0, Q6_K, BF16, Q4_K_M, Q5_K_M and MXFP4_MOE (llama-cpp-python
0.3.36). Its exceptions for 80 layers and for eight experts are left out, and types that it mixes in
other ways are taken for all matrices but the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from gguf_run.arch import BatchShape, Builder, CacheShape, find_architecture
from gguf_run.errors import ModelError
from gguf_run.hparams import HParams
from gguf_run.loader import GGUFFile, MetaValue, Part, TensorInfo
from gguf_run.loader_bytes import Read
from gguf_run.noise import can_be_random, random_reader
from gguf_run.quants import QUANT_TYPES, QuantType, quant_type
from gguf_run.shapes import SHAPES, Shape
from gguf_run.weights import WeightTable


@dataclass(frozen=True, slots=True)
class Mixture:
    """Types of a file's matrices: of most, of the head, of those that matter more, of experts.

    `better` goes to `better_in` of an eighth of the layers at either end and each third between.
    """

    most: str
    head: str
    better: str = ""
    better_in: tuple[str, ...] = ()
    experts: str = ""
    file_type: int | None = None


_BETTER = ("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")

MIXTURES = {
    "Q4_K_M": Mixture("Q4_K", "Q6_K", "Q6_K", _BETTER, file_type=15),
    "Q5_K_M": Mixture("Q5_K", "Q6_K", "Q6_K", _BETTER, file_type=17),
    "MXFP4_MOE": Mixture("Q8_0", "Q8_0", experts="MXFP4", file_type=38),
}
"""Kinds of files that mix types, by llama.cpp's names for them."""

_SAME_HEAD = ("F32", "F16", "BF16", "Q8_0")

_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9}
_FILE_TYPES |= {"Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32}

_FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0"}
"""What rows become that don't fill blocks of 256, as llama.cpp does it; others: IQ4_NL."""

_KEPT = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight")
"""Matrices that stay in F32."""


def known_types() -> list[str]:
    """The names that `random_model` takes for a type."""
    return [*(t.name for t in QUANT_TYPES.values() if can_be_random(t)), *MIXTURES]


def random_model(name: str, type_name: str) -> RandomModel:
    """The shape `name` with random weights of a type (`Q4_0`) or mixture of types (`Q4_K_M`).

    Raises `ModelError` that lists what is known where a name isn't.
    """
    if name not in SHAPES:
        raise ModelError(f"shape {name!r}: expected one of {', '.join(SHAPES)}")
    known = {known.upper(): known for known in known_types()}
    if type_name.upper() not in known:
        raise ModelError(f"type {type_name!r}: expected one of {', '.join(known.values())}")
    return RandomModel(name, SHAPES[name], known[type_name.upper()])


class RandomModel(GGUFFile):
    """What a file of a shape would be. Bytes of tensors are made when they are asked for."""

    def __init__(self, name: str, shape: Shape, type_name: str) -> None:
        path = Path(f"{name}-{type_name}")
        mixture = _mixture(type_name)
        metadata: dict[str, MetaValue] = {
            "general.architecture": shape.arch,
            "general.name": name,
            "general.size_label": shape.size,
            **{f"{shape.arch}.{key}": value for key, value in shape.metadata.items()},
        }
        if mixture.file_type is not None:
            metadata["general.file_type"] = mixture.file_type
        table = _Declared(path, shape, mixture)
        hp = HParams.from_metadata(metadata, name)
        f32 = quant_type("F32")
        build = find_architecture(shape.arch, name)
        build(Builder(hp, table, BatchShape(1), CacheShape(1, 1, f32, f32, f32, n_state=1)))
        super().__init__([Part(path, 3, metadata, table.found, np.empty(0, np.uint8))])

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor, made anew (n_bytes,)."""
        found = np.empty(self.tensors[name].n_bytes, np.uint8)
        self.reader(name)(0, found.data)
        return found

    def reader(self, name: str) -> Read:
        """Makes bytes of the tensor `name`."""
        info = self.tensors[name]
        return random_reader(info.type, len(info.shape) == 1, crc32(name.encode()))


class _Declared(WeightTable):
    """Tensors come to be when an architecture asks for them."""

    def __init__(self, path: Path, shape: Shape, mixture: Mixture) -> None:
        self.found: dict[str, TensorInfo] = _Names(shape.tensors)
        super().__init__(self.found, path.name, self._no_data)
        self._path, self._shape, self._mixture = path, shape, mixture

    def find(self, name: str, shape: tuple[int, ...]) -> TensorInfo | None:
        return self.require(name, shape) if name in self.tensors else None

    def require(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        if name not in self.found.keys():  # noqa: SIM118  (`in` alone asks what may come)
            dtype = self._type(name, shape)
            n_bytes = prod(shape[:-1]) * dtype.row_bytes(shape[-1])
            self.found[name] = TensorInfo(name, dtype, shape, 0, n_bytes, 0, self._path)
        return self.found[name]

    def _type(self, name: str, shape: tuple[int, ...]) -> QuantType:
        """Of a tensor of this name and shape."""
        short, mixture = _short(name), self._mixture
        if len(shape) == 1 or not name.endswith(".weight") or short in _KEPT:
            return quant_type("F32")
        tied = "output.weight" not in self._shape.tensors
        chosen = mixture.most
        if short == ("token_embd.weight" if tied else "output.weight"):
            chosen = mixture.head
        elif mixture.experts and "_exps" in short:
            chosen = mixture.experts
        elif short in mixture.better_in and self._is_better(name):
            chosen = mixture.better
        return _fitting(chosen, shape[-1])

    def _is_better(self, name: str) -> bool:
        n, il = int(str(self._shape.metadata["block_count"])), int(name.split(".")[1])
        return il < n // 8 or il >= 7 * n // 8 or (il - n // 8) % 3 == 2

    def _no_data(self, name: str) -> npt.NDArray[np.uint8]:
        raise ModelError(f"{self.source}: the numbers in {name} are not known yet")


class _Names(dict[str, TensorInfo]):
    """Tensors by name; those that the shape names count as there before they are asked for."""

    def __init__(self, expected: frozenset[str]) -> None:
        super().__init__()
        self._expected = expected

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or _short(str(name)) in self._expected


def _short(name: str) -> str:
    """A tensor's name without its layer."""
    return name.split(".", 2)[2] if name.startswith("blk.") else name


def _mixture(type_name: str) -> Mixture:
    if type_name in MIXTURES:
        return MIXTURES[type_name]
    head = type_name if type_name in _SAME_HEAD else "Q6_K"
    return Mixture(type_name, head, file_type=_FILE_TYPES.get(type_name))


def _fitting(name: str, n: int) -> QuantType:
    """The type, or what takes its place in rows of `n` that don't fill its blocks."""
    dtype = quant_type(name)
    if n % dtype.block_size and dtype.block_size > 32:
        dtype = quant_type(_FALLBACKS.get(name, "IQ4_NL"))
    return quant_type("F16") if n % dtype.block_size else dtype
