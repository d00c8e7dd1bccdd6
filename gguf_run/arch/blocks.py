"""The parts that architectures are made of: embedding, norms, products, feed-forward, head."""

from __future__ import annotations

from collections.abc import Callable

from gguf_run.arch.builder import Builder
from gguf_run.graph import Tensor

Norm = Callable[[Builder, Tensor, str], Tensor]
"""(builder, x, name of the tensors) -> x normalised over its last dimension."""

Part = Callable[[Builder, Tensor, int], Tensor]
"""(builder, x (n_tok, n_embd), layer) -> (n_tok, n_embd): an attention or a feed-forward."""


def embed(b: Builder, scale: float = 1.0) -> Tensor:
    """Rows of the embedding for the batch's tokens, times `scale`: (n_tok, n_embd)."""
    table = b.weight("token_embd.weight", b.hp.n_vocab, b.hp.n_embd)
    return scaled(b, b.g.get_rows(table, b.tokens), scale)


def scaled(b: Builder, x: Tensor, factor: float) -> Tensor:
    """x times `factor`; x itself where that is 1, or 0, which files mean 1 by."""
    return x if factor in (0.0, 1.0) else b.g.scale(x, factor)


def rms_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """RMS norm over the last dimension, times the weight `<name>.weight`."""
    normed = b.g.rms_norm(x, b.hp.norm_rms_eps)
    return b.g.mul(normed, b.weight(f"{name}.weight", x.shape[-1]))


def norm_by_either_name(b: Builder, x: Tensor, name: str) -> Tensor:
    """`rms_norm`; its weight may be called as the norm itself."""
    if not b.has(name):
        return rms_norm(b, x, name)
    return b.g.mul(b.g.rms_norm(x, b.hp.norm_rms_eps), b.weight(name, x.shape[-1]))


def layer_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """Layer norm over the last dimension, times the weight, plus the bias where there is one."""
    normed = b.g.norm(x, b.hp.norm_eps)
    normed = b.g.mul(normed, b.weight(f"{name}.weight", x.shape[-1]))
    bias = b.maybe(f"{name}.bias", x.shape[-1])
    return normed if bias is None else b.g.add(normed, bias)


def plain_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """Layer norm without weights."""
    return b.g.norm(x, b.hp.norm_eps)


def layer_norm_heads(b: Builder, x: Tensor, name: str) -> Tensor:
    """Layer norm of each head of x (n_tok, n_head, head_dim), with a weight a head and element."""
    n_tok, n_head, head_dim = x.shape
    normed = b.g.reshape(b.g.norm(x, b.hp.norm_eps), n_tok, n_head * head_dim)
    normed = b.g.mul(normed, b.vector(f"{name}.weight", n_head, head_dim))
    return b.g.reshape(normed, n_tok, n_head, head_dim)


def linear(b: Builder, x: Tensor, name: str, n_out: int) -> Tensor:
    """x @ w.T, times the scale and plus the bias where the file has them."""
    y = b.g.mul_mat(b.weight(f"{name}.weight", n_out, x.shape[-1]), x)
    factor = b.weights.number(f"{name}.scale")
    y = y if factor is None else b.g.scale(y, factor)
    bias = b.maybe(f"{name}.bias", n_out)
    return y if bias is None else b.g.add(y, bias)


# Feed-forward


def ffn(b: Builder, x: Tensor, il: int, glu: str = "swiglu") -> Tensor:
    """Gated feed-forward of layer `il`."""
    return gated_ffn(b, x, f"blk.{il}.ffn", b.hp.n_ff[il], glu)


def gated_ffn(
    b: Builder, x: Tensor, name: str, n_ff: int, glu: str = "swiglu", suffix: str = ""
) -> Tensor:
    """down(act(gate(x)) * up(x)) with the tensors `<name>_gate<suffix>` and so on.

    Without a gate the rows of the up projection hold the gate first, then the up projection.
    """
    if b.has(f"{name}_gate{suffix}.weight"):
        gate = linear(b, x, f"{name}_gate{suffix}", n_ff)
        up = linear(b, x, f"{name}_up{suffix}", n_ff)
    else:
        both = linear(b, x, f"{name}_up{suffix}", 2 * n_ff)
        gate, up = b.g.view(both, 0, n_ff), b.g.view(both, n_ff, 2 * n_ff)
    return linear(b, b.g.glu(glu, gate, up), f"{name}_down{suffix}", b.hp.n_embd)


def squared_relu(b: Builder, x: Tensor) -> Tensor:
    """max(x, 0)^2 (arXiv:2109.08668)."""
    return b.g.unary("sqr", b.g.unary("relu", x))


def squared_relu_mlp(b: Builder, x: Tensor, il: int) -> Tensor:
    """down(max(up(x), 0)^2)."""
    up = squared_relu(b, linear(b, x, f"blk.{il}.ffn_up", b.hp.n_ff[il]))
    return linear(b, up, f"blk.{il}.ffn_down", b.hp.n_embd)


def mlp(b: Builder, x: Tensor, il: int, act: str = "gelu") -> Tensor:
    """Plain feed-forward: down(act(up(x)))."""
    up = linear(b, x, f"blk.{il}.ffn_up", b.hp.n_ff[il])
    return linear(b, b.g.unary(act, up), f"blk.{il}.ffn_down", b.hp.n_embd)


# Ends


def head(b: Builder, x: Tensor, norm: Norm = rms_norm, name: str = "output_norm") -> Tensor:
    """Logits (n_out, n_vocab) of the wanted rows; a file without `output` reuses the embedding.

    `name` is that of the last norm's tensors.
    """
    x = b.hidden = norm(b, b.g.get_rows(x, b.out_rows), name)
    tied = not b.has("output.weight")
    w = b.weight("token_embd.weight" if tied else "output.weight", b.hp.n_vocab, b.hp.n_embd)
    logits = b.g.mul_mat(w, x)
    bias = b.maybe("output.bias", b.hp.n_vocab)
    return logits if bias is None else b.g.add(logits, bias)
