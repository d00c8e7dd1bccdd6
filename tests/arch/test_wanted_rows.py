"""What logits of a prompt's last token don't need isn't computed, and they stay what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_gguf import VARIANTS, write_model

from gguf_run import Model
from gguf_run.arch import BatchShape
from gguf_run.graph import F32, I32, Graph
from gguf_run.graph_rows import wanted_rows_alone

# As many tokens as there are rows of other things in the tiny models, too.
LENGTHS = (3, 16, 33)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_last_row_is_what_it_is_among_all_rows(name: str, tmp_path: Path) -> None:
    write_model(name, tmp_path / "model.gguf")
    with Model(tmp_path / "model.gguf", device="cpu", n_ctx=64) as model:
        for n_tok in LENGTHS:
            tokens = [1, *range(20, 19 + n_tok)]
            found = []
            for every_row in (True, False):
                seq = model.engine.new_sequence()
                found.append(model.engine.evaluate(seq, tokens, every_row)[-1])
                seq.close()
            np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_the_last_feed_forward_is_done_for_the_wanted_rows_alone(tiny_llama: Path) -> None:
    with Model(tiny_llama, device="cpu", n_ctx=64) as model:
        tensors = model.engine.source.graph(BatchShape(8)).tensors
        n_layer = model.hparams.n_layer
        rows = [t.shape[0] for t in tensors if t.op == "swiglu"]
        assert rows == [8] * (n_layer - 1) + [1]
        whole = model.engine.source.graph(BatchShape(8, n_out=8)).tensors
    assert [t.shape[0] for t in whole if t.op == "swiglu"] == [8] * n_layer


def test_rows_that_others_read_too_are_computed_once_and_picked() -> None:
    g = Graph()
    x = g.scale(g.input("x", (4, 32), F32), 2.0)
    shared = g.rms_norm(x, 1e-6)
    g.output(g.mul_mat(g.weight("other", (8, 32), F32), shared))
    y = g.add(x, g.mul_mat(g.weight("w", (32, 32), F32), shared))
    g.output(g.get_rows(y, g.input("out_rows", (1,), I32)))
    moved = wanted_rows_alone(g)
    assert [(t.op, t.shape[0]) for t in moved.tensors] == [
        *(("scale", 4), ("rms_norm", 4), ("mul_mat", 4)),
        *(("get_rows", 1), ("mul_mat", 1), ("get_rows", 1), ("add", 1)),
    ]
    assert [t.shape for t in moved.outputs] == [(4, 8), (1, 32)]


def test_a_view_of_what_is_not_by_token_stays() -> None:
    g = Graph()
    flat = g.reshape(g.scale(g.input("x", (1, 128), F32), 2.0), 128)
    rows = g.unary("silu", g.reshape(flat, 4, 32))
    g.output(g.get_rows(rows, g.input("out_rows", (1,), I32)))
    shapes = [t.shape for t in wanted_rows_alone(g).tensors]
    assert shapes == [(1, 128), (128,), (4, 32), (1, 32), (1, 32)]
