"""Layers of linear attention by the gated delta rule (arXiv:2412.06464), and the gated softmax
attention that stands between them, as in Qwen3-Next."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.arch.attention import attend, attention_params, head_norms, heads, rope_params
from gguf_run.arch.blocks import linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.errors import ModelError
from gguf_run.graph import DeltaParams, RopeMode, Tensor

PERIOD = 4
"""Of so many layers the last one has softmax attention, unless the file says otherwise."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of keys (and queries) and of values, their width, and the taps of the convolution."""

    n_key: int
    n_value: int
    width: int
    n_tap: int

    @property
    def keys(self) -> int:
        return self.n_key * self.width

    @property
    def values(self) -> int:
        return self.n_value * self.width

    @property
    def channels(self) -> int:
        return 2 * self.keys + self.values


def delta_heads(b: Builder) -> Heads:
    """The sizes that the file names."""
    keys = b.hp.keys
    found = Heads(
        keys.integer("ssm.group_count"),
        keys.integer("ssm.time_step_rank"),
        keys.integer("ssm.state_size"),
        keys.integer("ssm.conv_kernel", low=2),
    )
    if found.n_value % found.n_key or keys.integer("ssm.inner_size") != found.values:
        raise ModelError(
            f"{b.weights.source}: recurrent layers: expected ssm.time_step_rank to be a multiple "
            "of ssm.group_count and, times ssm.state_size, to give ssm.inner_size; found "
            f"{found.n_value}, {found.n_key}, {found.width}, {keys.integer('ssm.inner_size')}"
        )
    return found


def is_recurrent(b: Builder, il: int) -> bool:
    """Whether layer `il` is one of linear attention."""
    keys = b.hp.keys
    if keys.get("attention.recurrent_layers") is not None:
        return bool(keys.per_layer("attention.recurrent_layers", b.hp.n_layer, None)[il])
    return (il + 1) % keys.integer("full_attention_interval", PERIOD) != 0


def contiguous(b: Builder, x: Tensor, *shape: int) -> Tensor:
    """A view with gaps as a tensor of another shape without them."""
    return b.g.reshape(b.g.scale(x, 1.0), *shape)


def delta_attention(
    b: Builder, il: int, h: Heads, mixed: Tensor, alpha: Tensor, beta: Tensor, params: DeltaParams
) -> Tensor:
    """From the projections to heads (n_tok, n_value, width).

    `mixed` (n_tok, channels) holds queries, keys and values; alpha and beta (n_tok, n_value).
    """
    g, name, n_tok = b.g, f"blk.{il}.ssm", mixed.shape[0]
    taps = b.weight(f"{name}_conv1d.weight", h.channels, h.n_tap)
    convolved = g.unary("silu", convolve(b, il, mixed, taps))
    q = unit_rows(b, heads(b, g.view(convolved, 0, h.keys), h.width), h.width**-0.5)
    k = unit_rows(b, heads(b, g.view(convolved, h.keys, 2 * h.keys), h.width))
    v = heads(b, g.view(convolved, 2 * h.keys, h.channels), h.width)
    steps = g.unary("softplus", g.add(alpha, b.weight(f"{name}_dt.bias", h.n_value)))
    decay = g.mul(steps, b.weight(f"{name}_a", h.n_value))
    states = b.states(il, "delta", h.values * h.width)
    beta = g.unary("sigmoid", beta)
    both = g.gated_delta_net((q, k, v), decay, beta, states, b.seq_ids, b.state_in, params)
    return g.reshape(keep_states(b, both, states, n_tok * h.values), n_tok, h.n_value, h.width)


def convolve(b: Builder, il: int, x: Tensor, w: Tensor, name: str = "conv") -> Tensor:
    """A causal convolution along each sequence: x (n_tok, n_ch) with the taps w (n_ch, n_tap); a
    layer with several names their states apart."""
    states = b.states(il, name, (w.shape[1] - 1) * w.shape[0])
    both = b.g.ssm_conv(x, w, states, b.seq_ids, b.state_in)
    return b.g.reshape(keep_states(b, both, states, x.n_elements), *x.shape)


def keep_states(b: Builder, both: Tensor, states: Tensor, n: int) -> Tensor:
    """Write the new states, which follow the `n` elements of the result, and return those."""
    g = b.g
    rows = g.reshape(g.view(both, n, both.n_elements), b.batch.n_seq, states.shape[1])
    g.set_states(states, rows, b.state_out)
    return g.view(both, 0, n)


def unit_rows(b: Builder, x: Tensor, length: float = 1.0) -> Tensor:
    """Rows of x over their norm, times `length`: sqrt(n) * rms_norm is x / sqrt(sum(x^2) + eps)."""
    n = x.shape[-1]
    return b.g.scale(b.g.rms_norm(x, b.hp.norm_rms_eps / n), length * n**-0.5)


def gated_output(b: Builder, il: int, o: Tensor, z: Tensor) -> Tensor:
    """Heads normalised, times SiLU(z), projected: o and z (n_tok, n_value, width)."""
    n_tok, n_value, width = o.shape
    gated = b.g.glu("swiglu", z, rms_norm(b, o, f"blk.{il}.ssm_norm"))
    merged = b.g.reshape(gated, n_tok, n_value * width)
    return linear(b, merged, f"blk.{il}.ssm_out", b.hp.n_embd)


def gated_softmax_attention(b: Builder, x: Tensor, il: int) -> Tensor:
    """Attention whose result is multiplied by a sigmoid (arXiv:2505.06708); a head's gate stands
    behind its query."""
    g, hp, name = b.g, b.hp, f"blk.{il}.attn"
    n_head, n_kv, d = hp.n_head[il], hp.n_head_kv[il], hp.head_dim_k
    both = heads(b, linear(b, x, f"{name}_q", n_head * 2 * d), 2 * d)
    q, gate = g.view(both, 0, d), g.view(both, d, 2 * d)
    k = heads(b, linear(b, x, f"{name}_k", n_kv * d), d)
    v = heads(b, linear(b, x, f"{name}_v", n_kv * hp.head_dim_v), hp.head_dim_v)
    q, k = head_norms(b, q, k, il)
    rope = rope_params(b, RopeMode.NEOX)
    q, k = g.rope(q, b.positions, rope), g.rope(k, b.positions, rope)
    found = attend(b, q, k, v, il, attention_params(b))
    open_part = g.reshape(g.unary("sigmoid", gate), *found.shape)
    return linear(b, g.mul(found, open_part), f"{name}_output", hp.n_embd)
