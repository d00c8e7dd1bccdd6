"""Sequences in files: what goes on from there is what would have gone on without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_gguf import VARIANTS, write_model
from model_maker import Maker

from gguf_run import Model, ModelError
from gguf_run.kv_cache import Sequence
from gguf_run.state_file import MAGIC, load_state, save_state

TOKENS = [1, *(3 + 7 * i % 380 for i in range(139))]
MORE = [9, 8, 7, 6, 5]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {}),
    "q8_0 and q4_0": ("llama-wide-heads", {"cache_type_k": "Q8_0", "cache_type_v": "Q4_0"}),
    "windows": ("gemma3", {"n_ctx": 2048, "n_batch": 16}),
    "windows, quantised": ("gemma2", {"n_ctx": 2048, "n_batch": 16, "cache_type_k": "Q8_0"}),
    "a short convolution's state": ("lfm2", {}),
    "recurrent": ("qwen3next", {}),
    "latent": ("deepseek2", {}),
}


def seeded(path: Path, name: str, seed: int) -> Path:
    """The variant `name` with other weights."""
    variant = VARIANTS[name]
    maker = Maker(f"{name}-{seed}", path, variant)
    variant.build(maker)
    maker.close()
    return path


def go_on(model: Model, seq: Sequence) -> npt.NDArray[np.float32]:
    """Logits of further tokens, one at a time and then together."""
    rows = [model.engine.forward([(seq, [token])]) for token in MORE]
    return np.concatenate([*rows, model.engine.evaluate(seq, MORE, every_row=True)])


def loaded(model: Model, path: Path) -> Sequence:
    seq, _ = load_state(path, model.engine)
    assert seq is not None
    return seq


@pytest.mark.parametrize("back_to", [140, 137])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_sequence_goes_on_with_the_same_bits(
    tmp_path: Path, kind: str, back_to: int
) -> None:
    name, options = KINDS[kind]
    write_model(name, tmp_path / "model.gguf")
    state = tmp_path / "state"
    with Model(tmp_path / "model.gguf", "cpu", **options) as model:
        seq = model.engine.new_sequence()
        model.engine.evaluate(seq, TOKENS[:130])
        model.engine.forward([(seq, TOKENS[130:])])
        save_state(state, model.engine, seq, {})
        seq.rollback(back_to)
        length, expected = len(seq), go_on(model, seq)
    with Model(tmp_path / "model.gguf", "cpu", **options) as model:
        # Other pages than those that it was saved from.
        model.engine.new_sequence().append([5] * 3)
        seq = loaded(model, state)
        assert seq.tokens == TOKENS
        seq.rollback(back_to)
        assert len(seq) == length
        np.testing.assert_array_equal(go_on(model, seq), expected)


def test_the_last_page_is_saved_without_what_others_left_in_it(
    tmp_path: Path, tiny_llama: Path
) -> None:
    """Slots behind the sequence's end may hold what has been taken back."""
    saved = []
    for behind in ([11] * 30, [12] * 30):
        with Model(tiny_llama, "cpu") as model:
            seq = model.engine.new_sequence()
            model.engine.evaluate(seq, [1, 5, 6])
            model.engine.evaluate(seq, behind)
            seq.rollback(3)
            save_state(tmp_path / "state", model.engine, seq, {})
            saved.append((tmp_path / "state").read_bytes())
    assert saved[0] == saved[1]


def test_a_file_without_a_sequence_has_its_content(tmp_path: Path, tiny_llama: Path) -> None:
    with Model(tiny_llama, "cpu") as model:
        save_state(tmp_path / "state", model.engine, None, {"a": [1, "\udc80"]})
        assert load_state(tmp_path / "state", model.engine) == (None, {"a": [1, "\udc80"]})


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, "cpu", n_ctx=256) as opened:
        yield opened


@pytest.fixture(scope="module")
def state(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "state"
    seq = model.engine.new_sequence()
    model.engine.evaluate(seq, TOKENS[:70])
    save_state(path, model.engine, seq, {"a": 1})
    seq.close()
    return path


def refusal(model: Model, path: Path) -> str:
    """The error of loading a file; nothing is held afterwards."""
    with pytest.raises(ModelError) as error:
        load_state(path, model.engine)
    assert model.engine.pool.n_free == model.engine.pool.n_page
    assert str(error.value).startswith(str(path))
    return str(error.value)


def rewritten(source: Path, path: Path, **changes: object) -> Path:
    """The file with other entries in its header."""
    content, start = source.read_bytes(), len(MAGIC) + 8
    stop = start + int.from_bytes(content[len(MAGIC) : start], "little")
    header = json.loads(content[start:stop]) | changes
    text = json.dumps(header).encode()
    path.write_bytes(MAGIC + len(text).to_bytes(8, "little") + text + content[stop:])
    return path


def test_another_models_state_is_refused_by_its_weights(
    tmp_path: Path, model: Model, state: Path
) -> None:
    """The same architecture, sizes and types: another training run."""
    other = seeded(tmp_path / "other.gguf", "llama", 1)
    with Model(other, "cpu", n_ctx=256) as opened:
        assert "found one of another (tiny): its fingerprint is" in refusal(opened, state)


def test_another_architectures_state_is_refused_by_name(tmp_path: Path, state: Path) -> None:
    write_model("qwen3", tmp_path / "qwen3.gguf")
    with Model(tmp_path / "qwen3.gguf", "cpu") as opened:
        found = refusal(opened, state)
    assert "its architecture is 'llama', and this model's 'qwen3'" in found


def test_other_cache_types_are_named(tiny_llama: Path, state: Path) -> None:
    with Model(tiny_llama, "cpu", cache_type_v="F16") as opened:
        assert "expected a state with cache_type_v F16, found 'F32'" in refusal(opened, state)


def test_too_small_a_context_says_how_many_tokens_there_are(tiny_llama: Path, state: Path) -> None:
    with Model(tiny_llama, "cpu", n_ctx=69) as opened:
        found = refusal(opened, state)
    assert "the state has 70 tokens, and the context is of 69; raise n_ctx (-c)" in found


def test_a_larger_context_goes_on(tiny_llama: Path, model: Model, state: Path) -> None:
    with Model(tiny_llama, "cpu", n_ctx=512, n_batch=64) as opened:
        found = go_on(opened, loaded(opened, state))
    seq = loaded(model, state)
    np.testing.assert_array_equal(found, go_on(model, seq))
    seq.close()


def test_windows_that_keep_other_pages_name_the_context(tmp_path: Path) -> None:
    write_model("gemma2", tmp_path / "gemma2.gguf")
    with Model(tmp_path / "gemma2.gguf", "cpu", n_ctx=2048, n_batch=16) as model:
        seq = model.engine.new_sequence()
        model.engine.evaluate(seq, TOKENS)
        save_state(tmp_path / "state", model.engine, seq, {})
    with Model(tmp_path / "gemma2.gguf", "cpu", n_ctx=200) as model:
        assert "was saved with a context of 2048" in refusal(model, tmp_path / "state")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tokens": [5] * 69 + [99999]}, "expected tokens in 0..383"),
        ({"tokens": [-1] * 70}, "expected tokens in 0..383"),
        ({"tokens": [True] * 70}, "expected a header as save_state writes it"),
        ({"tokens": [5] * 5}, "bytes of keys and values"),
        ({"tokens": []}, "bytes of keys and values"),
        ({"content": []}, "expected a header as save_state writes it"),
        ({"window_first": "x"}, "expected a header as save_state writes it"),
        ({"tokens": [5] * 70}, "expected the checksum"),
        ({"fingerprint": None}, "found one of another"),
    ],
)
def test_a_header_that_was_changed_is_refused(
    tmp_path: Path, model: Model, state: Path, changes: dict[str, object], expected: str
) -> None:
    assert expected in refusal(model, rewritten(state, tmp_path / "changed", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": None},
        {"state": []},
        {"state": [2]},
        {"state": [1, 0]},
        {"state": [1, 139]},
        {"state": [1, 7, 8]},
        {"state": {"a": 1}},
    ],
)
def test_a_recurrent_state_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    write_model("lfm2", tmp_path / "lfm2.gguf")
    with Model(tmp_path / "lfm2.gguf", "cpu") as model:
        seq = model.engine.new_sequence()
        model.engine.evaluate(seq, TOKENS[:139])
        save_state(tmp_path / "state", model.engine, seq, {})
        seq.close()
        found = refusal(model, rewritten(tmp_path / "state", tmp_path / "changed", **changes))
        assert "the saved state is damaged" in found
        assert model.engine.states.n_free == model.engine.states.n_state


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found another kind of file"),
        (b"GGUF and so on", "found another kind of file"),
        (MAGIC, "a header in JSON"),
        (MAGIC + b"\xff" * 8, "a header of at most"),
        (MAGIC + (200_000).to_bytes(8, "little") + b"[" * 200_000, "a header in JSON"),
        (MAGIC + (3).to_bytes(8, "little") + b"\xff\xfe{", "a header in JSON"),
        (MAGIC + (2).to_bytes(8, "little") + b"{}", "a header as save_state writes it"),
    ],
)
def test_a_file_that_is_no_state_is_refused(
    tmp_path: Path, model: Model, content: bytes, expected: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert expected in refusal(model, tmp_path / "file")


@pytest.mark.parametrize("key", ["content", "tokens", "window_first", "state", "fingerprint"])
def test_a_header_that_lacks_an_entry_is_refused(
    tmp_path: Path, model: Model, state: Path, key: str
) -> None:
    content = state.read_bytes().replace(f'"{key}"'.encode(), f'"{key[1:]}x"'.encode(), 1)
    (tmp_path / "changed").write_bytes(content)
    refusal(model, tmp_path / "changed")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused(model: Model, state: Path, data: st.DataObject) -> None:
    content = bytearray(state.read_bytes())
    path = state.with_name("damaged")
    at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 2000))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    refusal(model, path)


def test_a_file_with_something_behind_its_end_is_refused(
    tmp_path: Path, model: Model, state: Path
) -> None:
    (tmp_path / "longer").write_bytes(state.read_bytes() + b"\0")
    assert "bytes of keys and values" in refusal(model, tmp_path / "longer")


def test_what_cannot_be_written_whole_leaves_the_old_file(
    tmp_path: Path, model: Model, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("the old one")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    seq = loaded(model, state)
    with monkeypatch.context() as patch:
        patch.setattr(model.engine.backend, "read_cache", fail)
        with pytest.raises(KeyboardInterrupt):
            save_state(tmp_path / "state", model.engine, seq, {})
    seq.close()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]
