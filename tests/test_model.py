"""`Model` against llama.cpp's figures, and what it says when it can't."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from sampling.llama_options import options_to_kwargs

from gguf_run import DeviceError, GGUFError, GGUFFile, Model, ModelError, open_gguf
from gguf_run.hparams import HParams, Keys
from gguf_run.reference_backend import ReferenceBackend

ARCHS = ("llama", "qwen2", "qwen3", "phi3")


def nmse(found: np.ndarray, expected: np.ndarray) -> float:
    return float(((found - expected) ** 2).sum() / (expected**2).sum())


@pytest.fixture(scope="session")
def arch_models(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archs")
    subprocess.run([sys.executable, shared / "archs" / "make.py", folder, "11"], check=True)
    return folder


@pytest.mark.parametrize("is_open", [True, False])
def test_a_model_that_cannot_be_loaded_lets_go_of_all_but_a_file_that_was_open(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    files: list[GGUFFile] = []
    closed: list[ReferenceBackend] = []

    def open_file(path: Path) -> GGUFFile:
        files.append(open_gguf(path))
        return files[-1]

    def fail(self: ReferenceBackend, *_: object) -> None:
        raise DeviceError("too little memory")

    monkeypatch.setattr("gguf_run.model.open_gguf", open_file)
    monkeypatch.setattr(ReferenceBackend, "load", fail)
    monkeypatch.setattr(ReferenceBackend, "close", lambda self: closed.append(self))
    with pytest.raises(DeviceError, match="too little memory"):
        Model(open_file(tiny_llama) if is_open else tiny_llama, "cpu")
    assert len(closed) == len(files) == 1
    if is_open:
        files[0].data("token_embd.weight")
    else:
        with pytest.raises(ValueError, match="closed"):
            files[0].data("token_embd.weight")


@pytest.mark.parity
@pytest.mark.parametrize("n_batch", [1, 7, 48])
@pytest.mark.parametrize("arch", ARCHS)
def test_logits_of_each_architecture_are_llama_cpps(
    shared: Path, arch_models: Path, arch: str, n_batch: int
) -> None:
    recorded = np.load(shared / "archs" / f"{arch}.npz")
    with Model(arch_models / f"{arch}.gguf", device="cpu", n_batch=n_batch) as model:
        assert nmse(model.logits(recorded["tokens"]), recorded["logits"]) <= 1e-6


@pytest.mark.parity
def test_logits_of_every_quantisation_are_those_of_the_exact_product(shared: Path) -> None:
    files = sorted((shared / "quants").glob("wide-*.gguf"))
    assert files
    for path in files:
        recorded = np.load(path.with_suffix(".npz"))
        with Model(path, device="cpu") as model:
            assert nmse(model.logits(recorded["tokens"]), recorded["exact"]) <= 1e-6, path.name


@pytest.mark.parity
def test_greedy_tokens_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    runs = json.loads((shared / "models" / "stories260K.greedy.json").read_text())["runs"]
    with Model(shared / "models" / "stories260K.gguf", device="cpu") as model:
        for run in runs:
            assert model.tokenize(run["prompt"]) == run["prompt_tokens"]
            chunks = list(model.generate(run["prompt"], len(run["tokens"]), temperature=0))
            assert [c.token for c in chunks] == run["tokens"]
            assert model.detokenize([c.token for c in chunks]) == run["text"]


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model at all, only some text that is long enough")
    with pytest.raises(GGUFError, match=r"model\.gguf"):
        Model(path, device="cpu")


def _write(path: Path, arch: str = "llama", **changes: object) -> Path:
    """A model of one layer, with metadata as changed and no tensors but the embedding."""
    writer = gguf.GGUFWriter(path, arch)
    keys = {
        "context_length": 64,
        "embedding_length": 32,
        "block_count": 1,
        "feed_forward_length": 64,
        "attention.head_count": 2,
        "vocab_size": 8,
    }
    for key, value in {**keys, **changes}.items():
        if isinstance(value, str):
            writer.add_string(f"{arch}.{key}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{arch}.{key}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"{arch}.{key}", value)
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_unknown_architecture_is_named_with_what_is_supported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'gpt17' is not supported; supported are: .*llama"):
        Model(_write(tmp_path / "m.gguf", "gpt17"), device="cpu")
    with pytest.raises(ModelError, match=r"'clip' is not supported \(the part .* that sees;"):
        Model(_write(tmp_path / "m.gguf", "clip"), device="cpu")


def test_an_unknown_architecture_needs_no_keys_to_be_named(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gpt17")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="'gpt17' is not supported"):
        Model(tmp_path / "m.gguf", device="cpu")


def test_a_missing_tensor_is_named_with_its_shape_and_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m\.gguf: tensor blk\.0\.attn_norm\.weight: .*\(32,\)"):
        Model(_write(tmp_path / "m.gguf"), device="cpu")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"token_embd\.weight: .*\(9, 32\), found \(8, 32\)"):
        Model(_write(tmp_path / "m.gguf", vocab_size=9), device="cpu")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_count", 0),
        ("block_count", 1 << 30),
        ("embedding_length", "wide"),
        ("attention.head_count", 0),
        ("attention.head_count_kv", 3),
        ("attention.layer_norm_rms_epsilon", float("nan")),
        ("rope.scaling.type", "magic"),
        ("rope.dimension_count", 99),
    ],
)
def test_a_key_that_cannot_be_is_named(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ModelError, match=key.split(".")[-1]):
        Model(_write(tmp_path / "m.gguf", **{key: value}), device="cpu")


@pytest.mark.parametrize("value", [["a", "b"], [1.0], [1.0, float("nan")], "wide", True])
def test_numbers_of_layers_that_cannot_be_are_named(value: object) -> None:
    keys = Keys({"llama.limits": value}, "llama", "m.gguf")
    with pytest.raises(ModelError, match=r"m\.gguf: key llama\.limits"):
        keys.numbers("limits", n_layer=2)


def test_one_number_serves_all_layers() -> None:
    keys = Keys({"llama.limits": 0.5, "llama.each": [1.0, -2.0, 3.0]}, "llama", "m.gguf")
    assert keys.numbers("limits", n_layer=2) == (0.5, 0.5)
    assert keys.numbers("each", n_layer=2) == (1.0, -2.0)
    assert keys.numbers("none", n_layer=2, default=1.0) == (1.0, 1.0)


def test_a_file_without_an_architecture_says_so() -> None:
    with pytest.raises(ModelError, match=r"x\.gguf: key general\.architecture"):
        HParams.from_metadata({}, "x.gguf")


def test_an_unknown_device_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(DeviceError, match="expected one of auto, cpu, cuda, emulated"):
        Model(tiny_llama, device="tpu")


def test_without_a_gpu_cuda_says_what_is_missing(tiny_llama: Path) -> None:
    from gguf_run.cuda.select import is_available

    if is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceError, match="device cuda: expected"):
        Model(tiny_llama, device="cuda")


def test_auto_runs_somewhere(tiny_llama: Path) -> None:
    with Model(tiny_llama, n_ctx=32) as model:
        assert model.logits([1, 2]).shape == (2, 384)


@pytest.mark.parametrize("option", ["n_ctx", "n_batch", "n_parallel"])
def test_sizes_of_nothing_are_refused(tiny_llama: Path, option: str) -> None:
    with pytest.raises(ModelError, match=option):
        Model(tiny_llama, device="cpu", **{option: 0})


def test_a_context_beyond_all_memory_says_what_to_lower(tiny_llama: Path) -> None:
    with pytest.raises(DeviceError, match=r"out of memory: Unable to allocate .*; lower n_ctx"):
        Model(tiny_llama, device="cpu", n_ctx=1 << 50)


def test_logits_of_nothing_or_of_no_ids_are_refused(tiny_llama: Path) -> None:
    with Model(tiny_llama, device="cpu", n_ctx=32) as model:
        with pytest.raises(ModelError, match="expected at least one token, found none"):
            model.logits([])
        with pytest.raises(TypeError, match="float"):
            model.logits([1.5])  # type: ignore[list-item]


def test_an_unknown_cache_type_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="expected one of F32, F16, Q8_0, Q4_0"):
        Model(tiny_llama, device="cpu", cache_type_k="Q2_K")


def test_a_smaller_cache_type_stays_close(shared: Path) -> None:
    path = shared / "models" / "stories260K.gguf"
    tokens = [1, 403, 407, 261, 378, 432, 383]
    with Model(path, device="cpu") as exact, Model(path, device="cpu", cache_type_k="f16") as half:
        assert 0 < nmse(half.logits(tokens), exact.logits(tokens)) < 1e-5


def test_unused_tensors_are_listed(tiny_llama: Path) -> None:
    with Model(tiny_llama, device="cpu") as model:
        assert model.unused_tensors == []


@pytest.mark.parity
def test_sampled_texts_of_a_trained_model_are_llama_cpps(shared: Path) -> None:
    runs = json.loads((shared / "models" / "stories260K.sampled.json").read_text())["runs"]
    with Model(shared / "models" / "stories260K.gguf", device="cpu") as model:
        for run in runs:
            options = options_to_kwargs(run["options"])
            chunks = model.generate(run["prompt"], run["n"], **options)
            # The tool that made the record writes two newlines at its end.
            assert "".join(c.text for c in chunks) + "\n\n" == run["text"], run["options"]
