"""The llama graph in PyTorch, as GGUF's `llama` architecture means it: RMSNorm, RoPE over adjacent
pairs, grouped-query attention, SwiGLU, and a head tied to the embedding.

Submodules carry GGUF's tensor names, so export is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Shape:
    """Hyper-parameters. Rows are multiples of 32, Q8_0's block."""

    n_vocab: int = 1536
    n_ctx: int = 512
    n_embd: int = 256
    n_layer: int = 5
    n_head: int = 8
    n_head_kv: int = 4
    n_ff: int = 576
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


class RMSNorm(nn.Module):
    """y = x * rsqrt(mean(x^2) + eps) * w"""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.n_embd))
        self.eps = shape.norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


def rope_table(shape: Shape) -> Tensor:
    """cos and sin of every position and pair: (2, n_ctx, head_dim / 2)."""
    pair = torch.arange(0, shape.head_dim, 2, dtype=torch.float64)
    angle = torch.outer(torch.arange(shape.n_ctx), shape.rope_base ** (-pair / shape.head_dim))
    return torch.stack((angle.cos(), angle.sin())).float()


def rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotates adjacent pairs (2i, 2i+1) of x (n_seq, n_head, n_tok, head_dim) by position."""
    cos, sin = table[:, : x.shape[-2]]
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_kv = shape.n_head_kv * shape.head_dim
        self.shape = shape
        self.attn_norm = RMSNorm(shape)
        self.attn_q = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.attn_k = nn.Linear(shape.n_embd, n_kv, bias=False)
        self.attn_v = nn.Linear(shape.n_embd, n_kv, bias=False)
        self.attn_output = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.ffn_norm = RMSNorm(shape)
        self.ffn_gate = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_up = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        x = x + self.attention(self.attn_norm(x), table)
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))

    def attention(self, h: Tensor, table: Tensor) -> Tensor:
        heads = (-1, self.shape.head_dim)
        q = rope(self.attn_q(h).unflatten(-1, heads).transpose(1, 2), table)
        k = rope(self.attn_k(h).unflatten(-1, heads).transpose(1, 2), table)
        v = self.attn_v(h).unflatten(-1, heads).transpose(1, 2)
        group = self.shape.n_head // self.shape.n_head_kv
        # expand, not repeat_interleave: its gradient is a plain sum, the same in every run
        k, v = (t.unsqueeze(2).expand(-1, -1, group, -1, -1).flatten(1, 2) for t in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_output(mixed.transpose(1, 2).flatten(-2))


class Llama(nn.Module):
    """Token ids (n_seq, n_tok) to logits (n_seq, n_tok, n_vocab)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.output_norm = RMSNorm(shape)
        self.register_buffer("table", rope_table(shape), persistent=False)
        deep = (2 * shape.n_layer) ** -0.5
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                down = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.03 * (deep if down else 1.0))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x, self.table)
        return F.linear(self.output_norm(x), self.token_embd.weight)
