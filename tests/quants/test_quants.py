"""The registry of tensor types against the gguf package, type by type."""

from __future__ import annotations

from math import prod

import gguf
import numpy as np
import pytest

from gguf_run.errors import ModelError
from gguf_run.quants import QUANT_TYPES, QuantType, quant_type

WITHOUT_DECODER = {"Q8_1", "Q8_K", "Q1_0", "Q2_0"}
PLAIN = {"F32": "<f4", "F16": "<f2", "F64": "<f8"} | {f"I{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)}
ALL = list(QUANT_TYPES.values())
DECODABLE = [t for t in ALL if t.name not in WITHOUT_DECODER]
SHAPES = [(1, 1), (3, 2), (17, 1), (33, 3), (2, 3, 5), (4,)]


def random_blocks(kind: QuantType, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random bytes, shape (..., n blocks) turned into (..., bytes): NaNs and infinities too."""
    rng = np.random.default_rng([seed, kind.id])
    return rng.integers(0, 256, (*shape[:-1], shape[-1] * kind.type_size), np.uint8)


def expected_values(kind: QuantType, raw: np.ndarray) -> np.ndarray:
    """What the gguf package, or NumPy for the numbers it leaves alone, makes of ``raw``."""
    with np.errstate(all="ignore"):
        if kind.name in PLAIN:
            return raw.view(PLAIN[kind.name]).astype(np.float32)
        return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind.name])


def test_every_type_of_the_gguf_package_has_its_row() -> None:
    rows = {kind.id: kind.name for kind in ALL}
    assert {int(t): t.name for t in gguf.GGMLQuantizationType}.items() <= rows.items()


def test_names_and_numbers_are_unique() -> None:
    assert len({kind.name for kind in ALL}) == len(ALL)
    assert all(kind.id == number for number, kind in QUANT_TYPES.items())


@pytest.mark.parametrize("stored", list(gguf.GGMLQuantizationType), ids=lambda t: t.name)
def test_sizes_are_those_of_the_gguf_package(stored: gguf.GGMLQuantizationType) -> None:
    kind = quant_type(stored.name)
    assert (kind.block_size, kind.type_size) == gguf.GGML_QUANT_SIZES[stored]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", DECODABLE, ids=lambda k: k.name)
def test_decoded_values_are_those_of_the_gguf_package(
    kind: QuantType, shape: tuple[int, ...]
) -> None:
    raw = random_blocks(kind, shape)
    decoded = kind.decode(raw)
    assert decoded.dtype == np.float32
    assert decoded.shape == (*shape[:-1], shape[-1] * kind.block_size)
    np.testing.assert_array_equal(decoded, expected_values(kind, raw))


@pytest.mark.parametrize("kind", DECODABLE, ids=lambda k: k.name)
def test_a_row_decodes_the_same_alone_and_among_others(kind: QuantType) -> None:
    raw = random_blocks(kind, (37, 2), seed=1)
    np.testing.assert_array_equal(kind.decode(raw)[19], kind.decode(raw[19]))


@pytest.mark.parametrize("kind", DECODABLE, ids=lambda k: k.name)
def test_rows_that_are_not_contiguous_decode_as_their_copy(kind: QuantType) -> None:
    raw = random_blocks(kind, (9, 4), seed=2)
    part = raw[::2, kind.type_size : 3 * kind.type_size]
    np.testing.assert_array_equal(kind.decode(part), kind.decode(part.copy()))


@pytest.mark.parametrize("kind", DECODABLE, ids=lambda k: k.name)
def test_read_only_bytes_at_any_address_decode_as_their_copy(kind: QuantType) -> None:
    raw = random_blocks(kind, (3, 2), seed=3)
    shifted = np.frombuffer(b"\0" + raw.tobytes(), np.uint8)[1:].reshape(raw.shape)
    assert not shifted.flags.writeable
    np.testing.assert_array_equal(kind.decode(shifted), kind.decode(raw))


@pytest.mark.parametrize("kind", DECODABLE, ids=lambda k: k.name)
@pytest.mark.parametrize("shape", [(0, 2), (3, 0)], ids=str)
def test_nothing_decodes_to_nothing(kind: QuantType, shape: tuple[int, int]) -> None:
    decoded = kind.decode(random_blocks(kind, shape))
    assert decoded.shape == (shape[0], shape[1] * kind.block_size)
    assert prod(decoded.shape) == 0


@pytest.mark.parametrize("name", sorted(WITHOUT_DECODER))
def test_a_type_without_decoder_is_an_error_that_names_it(name: str) -> None:
    kind = quant_type(name)
    with pytest.raises(ModelError, match=rf"{name} .*can't be decoded"):
        kind.decode(random_blocks(kind, (1, 1)))


def test_a_type_that_an_old_gguf_package_lacks_is_an_error_that_says_upgrade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(raw: np.ndarray, stored: object) -> np.ndarray:
        raise NotImplementedError

    monkeypatch.setattr(gguf.quants, "dequantize", refuse)
    kind = quant_type("Q4_0")
    with pytest.raises(ModelError, match=r"Q4_0 \(2\).*upgrade"):
        kind.decode(random_blocks(kind, (1, 1)))


@pytest.mark.parametrize("kind", ALL, ids=lambda k: k.name)
def test_row_bytes_counts_whole_blocks(kind: QuantType) -> None:
    assert kind.row_bytes(3 * kind.block_size) == 3 * kind.type_size
    if kind.block_size > 1:
        with pytest.raises(ValueError, match=rf"{kind.name} blocks of {kind.block_size}"):
            kind.row_bytes(3 * kind.block_size - 1)


@pytest.mark.parametrize(
    "raw",
    [np.zeros((2, 17), np.uint8), np.zeros((), np.uint8), np.zeros((2, 18), np.int8)],
    ids=["part of a block", "no axis", "not uint8"],
)
def test_bytes_that_are_no_blocks_are_refused(raw: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Q4_0\.decode: expected"):
        quant_type("Q4_0").decode(raw)


def test_an_unknown_name_is_an_error_that_lists_the_types() -> None:
    with pytest.raises(ModelError, match=r"'Q9_9': expected one of F32, .*NVFP4"):
        quant_type("Q9_9")
