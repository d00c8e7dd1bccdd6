"""`Model.embed`: shapes, pooling, batches, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders import CLS, ENCODERS, SEP, write_encoder
from make_gguf import VARIANTS, write_model
from model_maker import Maker

from gguf_run import Model, ModelError

TEXTS = ["the cat and the dog", "a", "then " * 30]


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    with Model(tiny_llama, "cpu") as opened:
        yield opened


def pooled_by(tmp_path: Path, number: int) -> Path:
    """A model whose file says how to pool."""
    path = tmp_path / "pooled.gguf"
    variant = replace(VARIANTS["llama"], keys={"pooling_type": number})
    maker = Maker("llama", path, variant)
    variant.build(maker)
    maker.close()
    return path


def test_a_text_gives_one_row_of_length_one(model: Model) -> None:
    found = model.embed("the cat")
    assert found.shape == (1, model.hparams.n_embd)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_several_texts_give_what_each_gives_alone(model: Model) -> None:
    alone = np.concatenate([model.embed(text) for text in TEXTS])
    np.testing.assert_allclose(model.embed(TEXTS), alone, atol=1e-6)


def test_many_texts_need_few_plans(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning takes longer than a GPU takes for a batch."""
    rng = np.random.default_rng(1)
    texts = [rng.integers(3, 384, rng.integers(5, 60)).tolist() for _ in range(150)]
    plans = []
    with Model(tiny_llama, "cpu", n_parallel=16) as model:
        make = model.engine.backend.plan
        monkeypatch.setattr(
            model.engine.backend, "plan", lambda *args: plans.append(args) or make(*args)
        )
        found = model.embed(texts)
    assert len(plans) <= 5
    assert found.shape == (150, 64)


def test_no_texts_give_no_rows(model: Model) -> None:
    assert model.embed([]).shape == (0, model.hparams.n_embd)


def test_token_ids_are_taken_as_they_are(model: Model) -> None:
    ids = model.tokenize(TEXTS[0])
    np.testing.assert_array_equal(model.embed([ids]), model.embed(TEXTS[0]))


def test_pooling_takes_rows_of_the_tokens(model: Model) -> None:
    rows = model.embed(TEXTS[0], "none", normalize=False)
    assert len(rows) == len(model.tokenize(TEXTS[0]))
    expected = {"mean": rows.mean(axis=0), "cls": rows[0], "last": rows[-1]}
    for pooling, row in expected.items():
        found = model.embed(TEXTS[0], pooling, normalize=False)
        np.testing.assert_allclose(found, row[None], rtol=1e-4, atol=1e-5)


def test_without_pooling_the_rows_of_the_texts_follow_each_other(model: Model) -> None:
    rows = model.embed(TEXTS[:2], "none")
    first = model.embed(TEXTS[0], "none")
    np.testing.assert_allclose(rows[: len(first)], first, atol=1e-6)
    assert len(rows) == sum(len(model.tokenize(text)) for text in TEXTS[:2])


def test_states_times_the_head_are_the_logits(model: Model) -> None:
    ids = model.tokenize(TEXTS[0])
    head = model.file.tensors["output.weight"]
    weights = head.type.decode(model.file.data("output.weight")).reshape(head.shape)
    states = model.embed([ids], "none", normalize=False)
    np.testing.assert_allclose(states @ weights.T, model.logits(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("number", "pooling"), [(0, "none"), (1, "mean"), (2, "cls"), (3, "last")])
def test_the_file_says_how_to_pool(tmp_path: Path, number: int, pooling: str) -> None:
    with Model(pooled_by(tmp_path, number), "cpu") as model:
        np.testing.assert_array_equal(model.embed(TEXTS), model.embed(TEXTS, pooling))


def test_a_file_that_says_nothing_means_the_mean(model: Model) -> None:
    np.testing.assert_array_equal(model.embed(TEXTS), model.embed(TEXTS, "mean"))


def test_a_model_that_ranks_has_embeddings_for_a_pooling_that_is_named(tmp_path: Path) -> None:
    with Model(pooled_by(tmp_path, 4), "cpu") as model:
        with pytest.raises(ModelError, match=r"key llama\.pooling_type: .* the model ranks texts"):
            model.embed("a")
        assert model.embed("a", "cls").shape == (1, 64)


def test_an_unknown_pooling_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="expected one of none, mean, cls, last, found 'max'"):
        model.embed("a", "max")


def test_a_text_without_tokens_is_named(model: Model) -> None:
    with pytest.raises(ModelError, match=r"texts\[1\]: expected at least one token"):
        model.embed(["a", []])


def test_a_text_longer_than_the_context_is_named(model: Model) -> None:
    n = model.n_ctx + 1
    with pytest.raises(ModelError, match=rf"texts\[1\] has {n} tokens, .* raise n_ctx"):
        model.embed(["a", [5] * n])


def test_a_token_that_is_none_is_refused_and_leaves_the_cache_empty(model: Model) -> None:
    with pytest.raises(ModelError, match="token 999"):
        model.embed([[5], [999]])
    assert model.engine.pool.n_free == model.engine.pool.n_page


def test_a_text_that_fills_the_context_runs_in_steps(tiny_llama: Path) -> None:
    text = [5, 6, 7, 8] * 16
    with Model(tiny_llama, "cpu", n_ctx=64, n_batch=10) as model:
        in_steps = model.embed([text, [5]])
    with Model(tiny_llama, "cpu", n_ctx=128) as model:
        np.testing.assert_allclose(in_steps, model.embed([text, [5]]), atol=1e-6)


@pytest.mark.parametrize("name", ["lfm2", "gpt-oss"])
def test_models_with_states_and_windows_embed_texts_one_after_another(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "model.gguf"
    write_model(name, path)
    texts = [[5, 6, 7], [8] * 90, [9, 10], [11]]
    with Model(path, "cpu", n_ctx=2048, n_batch=64) as model:
        alone = np.concatenate([model.embed([text]) for text in texts])
        np.testing.assert_allclose(model.embed(texts), alone, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_takes_a_text_whole_however_small_its_steps_are(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "encoder.gguf"
    write_encoder(name, path)
    with Model(path, "cpu", n_ctx=200, n_batch=8) as model:
        assert model.unused_tensors == []
        alone = np.concatenate([model.embed(text) for text in TEXTS])
        np.testing.assert_allclose(model.embed(TEXTS), alone, atol=1e-6)
        first = model.embed([[5, 6, 7]], "cls")
        assert abs(first - model.embed([[5, 6, 8]], "cls")).max() > 1e-3


def test_a_text_of_an_encoder_stands_between_its_control_tokens(tmp_path: Path) -> None:
    write_encoder("bert", tmp_path / "bert.gguf")
    with Model(tmp_path / "bert.gguf", "cpu") as model:
        plain = model.tokenize("the cat", add_special=False)
        np.testing.assert_array_equal(model.embed("The Cat"), model.embed([[CLS, *plain, SEP]]))


def test_an_encoder_says_that_it_writes_no_text(tmp_path: Path) -> None:
    write_encoder("bert", tmp_path / "bert.gguf")
    said = r"found one of embeddings \(bert\); use Model.embed, or gguf-run embed"
    with Model(tmp_path / "bert.gguf", "cpu") as model:
        with pytest.raises(ModelError, match=said):
            model.generate("the")
        with pytest.raises(ModelError, match=said):
            model.chat([{"role": "user", "content": "the"}])
        with pytest.raises(ModelError, match=said):
            model.logits([CLS, SEP])


def test_learned_positions_bound_the_context(tmp_path: Path) -> None:
    write_encoder("bert", tmp_path / "bert.gguf")
    with pytest.raises(ModelError, match="the model knows 512 positions"):
        Model(tmp_path / "bert.gguf", "cpu", n_ctx=513)


def test_windows_that_see_both_ways_are_refused(tmp_path: Path) -> None:
    variant = VARIANTS["gemma2"]
    variant = replace(variant, keys={**variant.keys, "attention.causal": False})
    maker = Maker("gemma2", tmp_path / "gemma2.gguf", variant)
    variant.build(maker)
    maker.close()
    with pytest.raises(ModelError, match=r"key gemma2\.attention\.causal: expected true"):
        Model(tmp_path / "gemma2.gguf", "cpu")
