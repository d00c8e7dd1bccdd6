"""What whole models must do on a device, as functions of its name: the tests of the emulator and of
a GPU call the same ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cases import nmse
from encoders import ENCODERS, write_encoder
from make_gguf import VARIANTS, write_model
from sampling.llama_options import options_to_kwargs

from gguf_run import Model
from gguf_run.state_file import load_state, save_state

ARCHS = (
    *("llama", "qwen2", "qwen3", "phi3", "mixtral", "qwen2moe", "qwen3moe"),
    *("deepseek2-lite", "deepseek2", "glm4", "glm4moe", "gemma2", "gemma3", "gpt-oss"),
)
"""The recorded architectures."""

TINY_MODELS = tuple({variant.arch: name for name, variant in reversed(VARIANTS.items())}.values())
"""The first tiny model of each architecture."""

DEMO_MODEL = Path(__file__).parents[1] / "models" / "demo.gguf"
DEMO_RUNS = Path(__file__).parent / "parity" / "data" / "demo.json"
DEMO_PROMPTS = (
    *("Once upon a time", "The little dog", "Hello"),
    "There was a big red ball in the garden and Tom wanted to play with it, but",
)
DEMO_NMSE = 2e-7
"""Of Q8_0 weights against float32 arithmetic: the cache and activations of many tokens are F16."""

LOGITS_NMSE = 1e-4
"""Of float32 weights against llama.cpp's float32; caches are F16 on a device."""


def check_tiny_model(device: str, name: str, folder: Path) -> None:
    """The reference's logits of a few tokens, of a prompt's last one, and of one behind it."""
    write_model(name, folder / "model.gguf")
    found = []
    for each in ("cpu", device):
        caches = {"cache_type_k": "F16", "cache_type_v": "F16"}
        with Model(folder / "model.gguf", each, n_ctx=128, **caches) as model:
            few = model.logits([1, 2, 3, 4, 5])
            seq = model.engine.new_sequence()
            last = [model.engine.evaluate(seq, ids) for ids in ([1, *range(100, 170)], [7])]
            found.append(np.concatenate([few, *last]))
    for expected, logits in zip(*found, strict=True):
        assert nmse(logits, expected) <= LOGITS_NMSE


def check_greedy_text(device: str, shared: Path, n_tok: int) -> None:
    """The tokens that llama.cpp draws of a trained model, `n_tok` of each run."""
    runs = json.loads((shared / "models" / "stories260K.greedy.json").read_text())["runs"]
    with Model(shared / "models" / "stories260K.gguf", device) as model:
        for run in runs:
            chunks = model.generate(run["prompt"], n_tok, temperature=0)
            assert [c.token for c in chunks] == run["tokens"][:n_tok]


def check_sampled_text(device: str, shared: Path, n_tok: int) -> None:
    """The beginnings of the texts that llama.cpp samples of a trained model, `n_tok` tokens of each
    run, on the device where it has all of a run's samplers. The record's cache is float32."""
    runs = json.loads((shared / "models" / "stories260K.sampled.json").read_text())["runs"]
    cache = {"cache_type_k": "F32", "cache_type_v": "F32"}
    with Model(shared / "models" / "stories260K.gguf", device, **cache) as model:
        for run in runs:
            options = options_to_kwargs(run["options"])
            text = "".join(c.text for c in model.generate(run["prompt"], n_tok, **options))
            assert text, run
            assert run["text"].startswith(text), run["options"]


def check_demo_text(device: str, n_tok: int) -> None:
    """The demo model draws the reference's tokens, `n_tok` of each prompt.

    Some are near draws: the first two logits are as near as 0.003.
    """
    drawn = []
    for where in ("cpu", device):
        with Model(DEMO_MODEL, where, n_ctx=256) as model:
            texts = (model.generate(prompt, n_tok, temperature=0) for prompt in DEMO_PROMPTS)
            drawn.append([[c.token for c in chunks] for chunks in texts])
    assert drawn[0] == drawn[1]


def check_demo_logits(device: str, n_tok: int) -> None:
    """The demo model's logits of llama.cpp's text, one token at a time and all at once."""
    run = json.loads(DEMO_RUNS.read_text(encoding="utf-8"))["greedy"][0]
    tokens = [*run["prompt_tokens"], *run["tokens"]][:n_tok]
    with Model(DEMO_MODEL, "cpu", n_ctx=256) as model:
        expected = model.logits(tokens)
    for n_batch in (1, n_tok):
        with Model(DEMO_MODEL, device, n_ctx=256, n_batch=n_batch) as model:
            assert nmse(model.logits(tokens), expected) <= DEMO_NMSE


def check_architectures(device: str, shared: Path, folder: Path) -> None:
    """The logits that llama.cpp computes of a tiny model of each architecture."""
    subprocess.run([sys.executable, shared / "archs" / "make.py", folder, "11"], check=True)
    for arch in ARCHS:
        recorded = np.load(shared / "archs" / f"{arch}.npz")
        # 27 layers of routing: an expert that changes place moves more than any rounding.
        allowed = 1e-3 if arch == "deepseek2-lite" else LOGITS_NMSE
        for n_batch in (48, 7):
            sizes = {"n_ctx": 64, "n_batch": n_batch}
            with Model(folder / f"{arch}.gguf", device, **sizes) as model:
                error = nmse(model.logits(recorded["tokens"]), recorded["logits"])
            assert error <= allowed, f"{arch} in pieces of {n_batch}: NMSE {error:.3g}"


def check_quantisations(device: str, shared: Path, n_batch: int) -> None:
    """No type is further from exact arithmetic than llama.cpp's own products are."""
    worse = []
    for path in sorted((shared / "quants").glob("wide-*.gguf")):
        recorded = np.load(path.with_suffix(".npz"))
        allowed = nmse(recorded["llama_cpp"], recorded["exact"])
        with Model(path, device, n_ctx=64, n_batch=n_batch) as model:
            found = nmse(model.logits(recorded["tokens"]), recorded["exact"])
        if not found <= allowed:
            worse.append(f"{path.stem}: NMSE {found:.3g}, llama.cpp's own {allowed:.3g}")
    assert not worse, "\n".join(worse)


def check_modes_agree(device: str, folder: Path) -> None:
    """Graphs change no bit, a second run neither; fusion changes rounding alone."""
    path = folder / "llama.gguf"
    write_model("llama", path)
    tokens = [1, *range(300, 320)]

    def logits(fuse: bool, use_graphs: bool) -> np.ndarray:
        with Model(path, device, n_batch=4, fuse=fuse, use_graphs=use_graphs) as model:
            first, second = model.logits(tokens), model.logits(tokens)
        assert first.tobytes() == second.tobytes()
        return first

    plain = logits(fuse=True, use_graphs=False)
    assert logits(fuse=True, use_graphs=True).tobytes() == plain.tobytes()
    assert nmse(logits(fuse=False, use_graphs=True), plain) <= 1e-9


def check_cache_types(device: str, folder: Path) -> None:
    """Quantised caches stay near the reference's with the same types."""
    path = folder / "llama-wide-heads.gguf"
    write_model("llama-wide-heads", path)
    tokens = [1, *range(290, 380)]
    for kind in ("F32", "F16", "Q8_0", "Q4_0"):
        results = []
        for where in (device, "cpu"):
            with Model(path, where, cache_type_k=kind, cache_type_v=kind) as model:
                results.append(model.logits(tokens))
        # A value at the edge of a quantisation step may fall to either side.
        tolerance = LOGITS_NMSE if kind in ("F32", "F16") else 1e-2
        assert nmse(*results) <= tolerance, kind


def check_embeddings(device: str) -> None:
    """Embeddings of texts side by side are near the reference's with the same cache."""
    texts = [*DEMO_PROMPTS, DEMO_PROMPTS[-1] * 4]
    results = []
    for where in (device, "cpu"):
        with Model(DEMO_MODEL, where, cache_type_k="F16", cache_type_v="F16") as model:
            results.append(model.embed(texts))
    assert nmse(*results) <= LOGITS_NMSE


def check_encoders(device: str, folder: Path) -> None:
    """Encoders' states are near the reference's."""
    texts = [[2, *range(9, 99)], [2, 8, 7], [2]]
    for name in ENCODERS:
        path = folder / f"{name}.gguf"
        write_encoder(name, path)
        results = []
        for where in (device, "cpu"):
            with Model(path, where) as model:
                results.append(model.embed(texts, "none"))
        assert nmse(*results) <= LOGITS_NMSE, name


def check_saved_states(device: str, folder: Path) -> None:
    """A sequence in a file goes on with the same bits, and on the CPU with the same cache."""
    for name, kind in (("gemma2", "F16"), ("lfm2", "F32"), ("llama-wide-heads", "Q8_0")):
        path, state = folder / f"{name}.gguf", folder / "state"
        write_model(name, path)
        options: dict[str, Any] = {
            "cache_type_k": kind,
            "cache_type_v": kind,
            "n_ctx": 1024,
            "n_batch": 16,
        }
        tokens = [1, *range(230, 330)]
        logits = []
        with Model(path, device, **options) as model:
            seq = model.engine.new_sequence()
            model.engine.evaluate(seq, tokens)
            save_state(state, model.engine, seq, {})
            logits.append(model.engine.evaluate(seq, [5, 6]))
        for where in (device, "cpu"):
            with Model(path, where, **options) as model:
                found, _ = load_state(state, model.engine)
                assert found is not None
                logits.append(model.engine.evaluate(found, [5, 6]))
        expected, again, on_the_cpu = logits
        assert again.tobytes() == expected.tobytes(), name
        assert nmse(on_the_cpu, expected) <= LOGITS_NMSE, name


def check_padded_prompts(device: str, folder: Path) -> None:
    """A prompt's step may have more tokens than the prompt: they change nothing, now or later.

    Pages, windows, experts and latent vectors each have their way to store a token.
    """
    tokens = [1, *range(100, 170)]
    for name in ("llama", "gemma3", "qwen3moe", "deepseek2"):
        path = folder / f"{name}.gguf"
        write_model(name, path)
        found = []
        for where in ("cpu", device):
            with Model(path, where, n_ctx=128) as model:
                n_tok = model.engine.backend.step_size(len(tokens))
                assert where == "cpu" or n_tok > len(tokens)
                seq = model.engine.new_sequence()
                prompt = model.engine.evaluate(seq, tokens)
                assert len(seq) == len(tokens)
                found.append(np.concatenate([prompt, model.engine.evaluate(seq, [7, 8, 9])]))
                seq.close()
        assert nmse(found[1], found[0]) <= LOGITS_NMSE, name
