"""Seeded mutations of real files: each opens or is a GGUFError, in bounded time and memory."""

from __future__ import annotations

import random
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_bytes import array, number, pair, string, tensor, u64
from gguf_bytes import gguf as gguf_bytes

from gguf_run.errors import GGUFError
from gguf_run.loader import GGUFFile, open_gguf, parse_part
from gguf_run.loader_cursor import Cursor

PATH = Path("mutated.gguf")
N_BATCHES = 10
N_PER_BATCH = 5000
N_PER_SHARED_FILE = 300
N_OF_SHARDS = 500
N_MEASURED = 400

ODD_NUMBERS = [0, 1, 2, 3, 7, 8, 9, 10, 12, 13, 31, 32, 63, 64, 127, 128, 255, 256, 65535, 65536]
ODD_NUMBERS += [sign + 2**bits for bits in (16, 24, 31, 32, 40, 61, 62, 63, 64) for sign in (-1, 0)]


def written_files() -> list[bytes]:
    """Small files as the gguf package writes them: a model, a vocabulary, odd arrays."""
    rng = np.random.default_rng(11)
    files = []

    def write(fill: Callable[[gguf.GGUFWriter], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "small.gguf")
            writer = gguf.GGUFWriter(path, "llama")
            fill(writer)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            files.append(path.read_bytes())

    def model(writer: gguf.GGUFWriter) -> None:
        writer.add_block_count(2)
        writer.add_rope_freq_base(10000.0)
        writer.add_tensor("token_embd.weight", rng.standard_normal((8, 4), np.float32))
        writer.add_tensor("output_norm.weight", rng.standard_normal(7, np.float32))
        for name in ("Q4_0", "Q8_0", "Q6_K", "MXFP4"):
            kind = gguf.GGMLQuantizationType[name]
            size = gguf.GGML_QUANT_SIZES[kind][1]
            raw = rng.integers(0, 256, (2, 3, size), np.uint8)
            writer.add_tensor(f"blk.0.{name}", raw, raw_dtype=kind)

    def vocabulary(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"Ġtoken{i}" for i in range(60)])
        writer.add_token_types([1] * 60)
        writer.add_token_scores([-0.5 * i for i in range(60)])
        writer.add_token_merges(["Ġ t", "o k", ""])

    def aligned(writer: gguf.GGUFWriter) -> None:
        writer.add_custom_alignment(8)
        writer.add_array("x.booleans", [True, False, True])
        writer.add_array("x.arrays", [[1, 2], [3], [4, 5, 6]])
        writer.add_float64("x.double", 0.1)
        writer.add_tensor("bytes", np.arange(3, dtype=np.int8))
        writer.add_tensor("words", np.arange(6, dtype=np.int16).reshape(1, 2, 3, 1))

    for fill in (model, vocabulary, aligned):
        write(fill)
    return files


def write_shards(folder: Path) -> None:
    """A model of three files."""
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"t{i}", np.full((2, 3 + i), i, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fields_of(blob: bytes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the header has its counts, lengths, types, dimensions and offsets."""
    positions: list[int] = []
    read = Cursor.fixed

    def noted(self: Cursor, n_bytes: int, what: str) -> bytes:
        positions.append(self.pos)
        return read(self, n_bytes, what)

    with monkeypatch.context() as patch:
        patch.setattr(Cursor, "fixed", noted)
        parse_part(blob, PATH)
    return positions


def near_the_start(rng: random.Random, size: int) -> int:
    """A position, small ones more often."""
    return int(size * rng.random() ** 2)


def flip_bits(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        blob[near_the_start(rng, len(blob))] ^= 1 << rng.randrange(8)


def edit_field(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    for _ in range(rng.choice([1, 1, 2])):
        at, width = rng.choice(fields), rng.choice([4, 8])
        old = int.from_bytes(blob[at : at + width], "little")
        near = old + rng.choice([-32, -8, -1, 1, 8, 32])
        new = rng.choice([near, near, rng.choice(ODD_NUMBERS), rng.getrandbits(8 * width)])
        blob[at : at + width] = (new % 2 ** (8 * width)).to_bytes(width, "little")


def truncate(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    del blob[near_the_start(rng, len(blob)) :]


def splice(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    """Put a piece of the file over, or between, the bytes of another place."""
    start, at = near_the_start(rng, len(blob)), near_the_start(rng, len(blob))
    piece = blob[start : start + rng.choice([1, 4, 8, 12, 33, 100])]
    blob[at : at + rng.choice([0, len(piece)])] = piece


def remove(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    at = near_the_start(rng, len(blob))
    del blob[at : at + rng.choice([1, 4, 8, 12, 33])]


def fill(rng: random.Random, blob: bytearray, fields: list[int]) -> None:
    at, n = near_the_start(rng, len(blob)), rng.choice([1, 4, 8, 40])
    blob[at : at + n] = bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])]) * n


MUTATIONS = [flip_bits, edit_field, edit_field, truncate, splice, remove, fill]


def mutated(rng: random.Random, blob: bytes, fields: list[int]) -> bytes:
    found = bytearray(blob)
    rng.choice(MUTATIONS)(rng, found, fields)
    return bytes(found)


def outcome(blob: bytes) -> str:
    """Open the file, and where it opens check that all its data lie inside."""
    try:
        file = GGUFFile([parse_part(blob, PATH)])
    except GGUFError:
        return "refused"
    whole = np.frombuffer(blob, np.uint8)
    for name, info in file.tensors.items():
        data = file.data(name)
        assert info.n_bytes == data.size == whole[info.offset :][: info.n_bytes].size
        assert np.shares_memory(data, whole)
        assert info.type.row_bytes(info.shape[-1]) * int(np.prod(info.shape[:-1])) == data.size
    return "opened"


@pytest.fixture(scope="module")
def small_files() -> list[bytes]:
    return written_files()


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_a_mutated_file_opens_or_is_refused(
    batch: int, small_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(batch)
    with_fields = [(blob, fields_of(blob, monkeypatch)) for blob in small_files]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(N_PER_BATCH):
        blob = mutated(rng, *rng.choice(with_fields))
        start = time.thread_time()
        outcomes[outcome(blob)] += 1
        slowest = max(slowest, time.thread_time() - start)
    assert outcomes.total() == N_PER_BATCH
    assert min(outcomes["opened"], outcomes["refused"]) > N_PER_BATCH // 20
    assert slowest < 1.0


@pytest.mark.parametrize(
    "name",
    ["models/stories260K.gguf", "quants/wide-Q2_K.gguf", "vocab/ggml-vocab-bert-bge.gguf"],
)
def test_a_mutated_model_opens_or_is_refused(
    name: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = (shared / name).read_bytes()
    fields = fields_of(blob, monkeypatch)
    rng = random.Random(name)
    outcomes = Counter(outcome(mutated(rng, blob, fields)) for _ in range(N_PER_SHARED_FILE))
    assert min(outcomes["opened"], outcomes["refused"]) > N_PER_SHARED_FILE // 20


def test_mutated_shards_open_or_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path)
    paths = sorted(tmp_path.iterdir())
    whole = {path: path.read_bytes() for path in paths}
    fields = {path: fields_of(blob, monkeypatch) for path, blob in whole.items()}
    rng = random.Random(3)
    outcomes: Counter[str] = Counter()
    for _ in range(N_OF_SHARDS):
        path = rng.choice(paths)
        path.write_bytes(mutated(rng, whole[path], fields[path]))
        try:
            with open_gguf(paths[0]) as file:
                sizes = [file.data(name).size for name in file.tensors]
            assert all(sizes)
            outcomes["opened"] += 1
        except GGUFError:
            outcomes["refused"] += 1
        path.write_bytes(whole[path])
    assert min(outcomes["opened"], outcomes["refused"]) > N_OF_SHARDS // 20


def check_memory(blob: bytes) -> None:
    """The peak of opening is a small multiple of the file's size, whatever it claims."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    outcome(blob)
    assert tracemalloc.get_traced_memory()[1] - before < 20 * len(blob) + 50_000


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_a_mutated_file_takes_no_more_memory_than_its_size_warrants(
    small_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    with_fields = [(blob, fields_of(blob, monkeypatch)) for blob in small_files]
    for _ in range(N_MEASURED):
        check_memory(mutated(rng, *rng.choice(with_fields)))


DENSE_FILES = {
    "empty strings": lambda n: gguf_bytes([pair("k", 9, array(8, [u64(0)] * n))]),
    "short strings": lambda n: gguf_bytes([pair("k", 9, array(8, [string("éa")] * n))]),
    "empty arrays": lambda n: gguf_bytes([pair("k", 9, array(9, [array(0, [])] * n))]),
    "booleans": lambda n: gguf_bytes([pair("k", 9, array(7, [b"\1"] * n))]),
    "pairs": lambda n: gguf_bytes([pair(f"{i:x}", 0, b"\0") for i in range(n)]),
    "tensors": lambda n: gguf_bytes(
        [number("general.alignment", "u32", 1)],
        [tensor(f"{i:x}", [1], 24, i) for i in range(n)],
        bytes(n),
    ),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", DENSE_FILES)
def test_a_file_full_of_small_things_takes_a_small_multiple_of_its_size(kind: str) -> None:
    blob = DENSE_FILES[kind](5_000)
    assert outcome(blob) == "opened"
    check_memory(blob)
