"""How attention and feed-forward make up layers: where the norms stand, and what is added when."""

from __future__ import annotations

from gguf_run.arch.blocks import Norm, Part, layer_norm, rms_norm, scaled
from gguf_run.arch.builder import Builder
from gguf_run.graph import Tensor


def pre_norm(
    b: Builder,
    x: Tensor,
    attention: Part,
    feed_forward: Part,
    *,
    norm: Norm = rms_norm,
    ffn_norm: str = "ffn_norm",
    residual_scale: float = 1.0,
) -> Tensor:
    """The layers that most families share: h += attention(norm(h)); h += ffn(norm(h)).

    `ffn_norm` names the tensors of the second norm; what is added is times `residual_scale`.
    """
    for il in range(b.hp.n_layer):
        found = attention(b, norm(b, x, f"blk.{il}.attn_norm"), il)
        x = b.g.add(x, scaled(b, found, residual_scale))
        found = feed_forward(b, norm(b, x, f"blk.{il}.{ffn_norm}"), il)
        x = b.g.add(x, scaled(b, found, residual_scale))
    return x


def parallel(
    b: Builder, x: Tensor, attention: Part, feed_forward: Part, norm: Norm = layer_norm
) -> Tensor:
    """Attention and feed-forward side by side, of one norm (arXiv:2204.02311, section 2)."""
    for il in range(b.hp.n_layer):
        normed = norm(b, x, f"blk.{il}.attn_norm")
        x = b.g.add(x, b.g.add(attention(b, normed, il), feed_forward(b, normed, il)))
    return x


def post_norm(b: Builder, x: Tensor, attention: Part, feed_forward: Part) -> Tensor:
    """Layers that normalise what they add and nothing else (arXiv:2501.00656)."""
    for il in range(b.hp.n_layer):
        x = b.g.add(x, rms_norm(b, attention(b, x, il), f"blk.{il}.post_attention_norm"))
        x = b.g.add(x, rms_norm(b, feed_forward(b, x, il), f"blk.{il}.post_ffw_norm"))
    return x


def sandwich(
    b: Builder, x: Tensor, attention: Part, feed_forward: Part, norm: Norm = rms_norm
) -> Tensor:
    """Layers that also normalise what they add (arXiv:2408.00118): h += norm(f(norm(h)))."""
    for il in range(b.hp.n_layer):
        found = attention(b, norm(b, x, f"blk.{il}.attn_norm"), il)
        x = b.g.add(x, norm(b, found, f"blk.{il}.post_attention_norm"))
        found = feed_forward(b, norm(b, x, f"blk.{il}.ffn_norm"), il)
        x = b.g.add(x, norm(b, found, f"blk.{il}.post_ffw_norm"))
    return x
