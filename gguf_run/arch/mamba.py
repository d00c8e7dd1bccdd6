"""Mamba (arXiv:2312.00752) and Mamba 2 (arXiv:2405.21060): layers of a selective state space behind
a short convolution, without attention; and these layers for the hybrids that have them."""

from __future__ import annotations

from dataclasses import dataclass

from gguf_run.arch.blocks import Part, embed, head, linear, rms_norm
from gguf_run.arch.builder import Builder
from gguf_run.arch.delta import convolve, keep_states
from gguf_run.arch.registry import architecture
from gguf_run.errors import ModelError
from gguf_run.graph import Tensor


@architecture("mamba")
def mamba(b: Builder) -> Tensor:
    return head(b, one_part_a_layer(b, embed(b), mamba_layer))


@architecture("mamba2")
def mamba2(b: Builder) -> Tensor:
    return head(b, one_part_a_layer(b, embed(b), mamba2_layer))


def one_part_a_layer(b: Builder, x: Tensor, part: Part) -> Tensor:
    """h += part(norm(h))."""
    for il in range(b.hp.n_layer):
        x = b.g.add(x, part(b, rms_norm(b, x, f"blk.{il}.attn_norm"), il))
    return x


@dataclass(frozen=True, slots=True)
class Sizes:
    """Width of the inner vectors, of a state's rows, of the time step's product; the heads of Mamba
    2 and the groups that share a B and a C; the taps of the convolution."""

    n_inner: int
    n_state: int
    n_step: int
    n_tap: int

    @property
    def n_head(self) -> int:
        """Mamba 2 has a time step a head."""
        return self.n_step


def sizes(b: Builder) -> Sizes:
    keys = b.hp.keys
    return Sizes(
        keys.integer("ssm.inner_size"),
        keys.integer("ssm.state_size"),
        keys.integer("ssm.time_step_rank"),
        keys.integer("ssm.conv_kernel", low=2),
    )


def mamba_layer(b: Builder, x: Tensor, il: int) -> Tensor:
    """Each inner element has a state of its own, with rates of its own; x (n_tok, n_embd)."""
    g, s, name, n_tok = b.g, sizes(b), f"blk.{il}.ssm", x.shape[0]
    both = linear(b, x, f"{name}_in", 2 * s.n_inner)
    inner, z = g.view(both, 0, s.n_inner), g.view(both, s.n_inner, 2 * s.n_inner)
    inner = _convolved(b, il, inner, s)
    three = linear(b, inner, f"{name}_x", s.n_step + 2 * s.n_state)
    ends = (s.n_step, s.n_step + s.n_state, s.n_step + 2 * s.n_state)
    parts = [g.view(three, i, j) for i, j in zip((0, *ends), ends, strict=False)]
    dt, in_b, in_c = _normalised(b, il, *parts)
    dt = linear(b, dt, f"{name}_dt", s.n_inner)
    y = _scan(
        b,
        il,
        g.reshape(inner, n_tok, s.n_inner, 1),
        dt,
        b.weight(f"{name}_a", s.n_inner, s.n_state),
        b.weight(f"{name}_d", s.n_inner),
        (g.reshape(in_b, n_tok, 1, s.n_state), g.reshape(in_c, n_tok, 1, s.n_state)),
    )
    return linear(b, g.glu("swiglu", z, y), f"{name}_out", b.hp.n_embd)


def _normalised(b: Builder, il: int, *parts: Tensor) -> list[Tensor]:
    """The time step, B and C normalised, where the file says so or has the weights for that."""
    if b.hp.keys.flag("ssm.dt_b_c_rms", False):
        return [b.g.rms_norm(t, b.hp.norm_rms_eps) for t in parts]
    names = [f"blk.{il}.ssm_{name}_norm" for name in ("dt", "b", "c")]
    if not all(b.has(f"{name}.weight") for name in names):
        return list(parts)
    return [rms_norm(b, t, name) for t, name in zip(parts, names, strict=True)]


def mamba2_layer(b: Builder, x: Tensor, il: int) -> Tensor:
    """Heads have a rate each; their results are normalised by group. x (n_tok, n_embd)."""
    g, s, name, n_tok = b.g, sizes(b), f"blk.{il}.ssm", x.shape[0]
    n_group = b.hp.keys.integer("ssm.group_count")
    if s.n_inner % s.n_head or s.n_head % n_group:
        raise ModelError(
            f"{b.weights.source}: expected ssm.inner_size to be a multiple of ssm.time_step_rank "
            f"and that of ssm.group_count, found {s.n_inner}, {s.n_head}, {n_group}"
        )
    n_bc = n_group * s.n_state
    ends = (s.n_inner, 2 * s.n_inner + 2 * n_bc, 2 * s.n_inner + 2 * n_bc + s.n_head)
    all_three = linear(b, x, f"{name}_in", ends[-1])
    z, mixed, dt = (g.view(all_three, i, j) for i, j in zip((0, *ends), ends, strict=False))
    mixed = _convolved(b, il, mixed, s)
    inner = g.reshape(g.view(mixed, 0, s.n_inner), n_tok, s.n_head, s.n_inner // s.n_head)
    in_b, in_c = (
        g.reshape(g.view(mixed, i, i + n_bc), n_tok, n_group, s.n_state)
        for i in (s.n_inner, s.n_inner + n_bc)
    )
    dt = g.add(dt, b.weight(f"{name}_dt.bias", s.n_head))
    rates = b.weight(f"{name}_a", s.n_head, 1)
    y = _scan(b, il, inner, dt, rates, b.vector(f"{name}_d", s.n_head, 1), (in_b, in_c))
    y = g.glu("swiglu", z, y)
    if b.has(f"{name}_norm.weight"):
        width = s.n_inner // n_group
        normed = g.rms_norm(g.reshape(y, n_tok, n_group, width), b.hp.norm_rms_eps)
        y = g.reshape(normed, n_tok, s.n_inner)
        y = g.mul(y, b.vector(f"{name}_norm.weight", n_group, width))
    return linear(b, y, f"{name}_out", b.hp.n_embd)


def _convolved(b: Builder, il: int, x: Tensor, s: Sizes) -> Tensor:
    name, n = f"blk.{il}.ssm_conv1d", x.shape[1]
    y = convolve(b, il, x, b.weight(f"{name}.weight", n, s.n_tap))
    bias = b.maybe(f"{name}.bias", n)
    return b.g.unary("silu", y if bias is None else b.g.add(y, bias))


def _scan(
    b: Builder, il: int, x: Tensor, dt: Tensor, a: Tensor, d: Tensor, bc: tuple[Tensor, Tensor]
) -> Tensor:
    """Heads x (n_tok, n_head, n) through the state space -> (n_tok, n_head * n)."""
    n_tok, n_inner = x.shape[0], x.shape[1] * x.shape[2]
    states = b.states(il, "ssm", n_inner * bc[0].shape[2])
    both = b.g.ssm_scan(x, dt, a, d, bc, states, b.seq_ids, b.state_in)
    return b.g.reshape(keep_states(b, both, states, n_tok * n_inner), n_tok, n_inner)
