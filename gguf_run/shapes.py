"""Shapes of well-known models: their hyper-parameters, as files of them say, and no weights.

Sources are the models' own configurations as published. `metadata` are a file's keys without the
architecture's prefix; `tensors` are those that an architecture takes where a file has them, without
`blk.N.`, and that files of this model have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf_run.loader import MetaValue


@dataclass(frozen=True, slots=True)
class Shape:
    """A model without its weights; `size` is what its name calls its size."""

    arch: str
    size: str
    metadata: Mapping[str, MetaValue]
    tensors: frozenset[str]


GATE = ("ffn_gate.weight",)
HEAD = ("output.weight",)
QKV_BIASES = ("attn_q.bias", "attn_k.bias", "attn_v.bias")
FUSED = ("attn_qkv.weight",)
NOTHING: Mapping[str, MetaValue] = MappingProxyType({})


def _shape(
    arch: str,
    size: str,
    n_layer: int,
    n_embd: int,
    n_ff: int,
    n_head: int,
    n_head_kv: int,
    head_dim: int,
    n_vocab: int,
    n_ctx: int,
    rope_base: float,
    *tensors: str,
    more: Mapping[str, MetaValue] = NOTHING,
) -> Shape:
    """A shape from what all models have; `more` are further keys, or other values."""
    metadata: dict[str, MetaValue] = {
        "block_count": n_layer,
        "embedding_length": n_embd,
        "feed_forward_length": n_ff,
        "attention.head_count": n_head,
        "attention.head_count_kv": n_head_kv,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.dimension_count": head_dim,
        "rope.freq_base": rope_base,
        "context_length": n_ctx,
        "vocab_size": n_vocab,
    }
    return Shape(arch, size, MappingProxyType({**metadata, **more}), frozenset(tensors))


def _llama3(
    size: str, n_layer: int, n_embd: int, n_ff: int, n_head: int, head_dim: int, *tensors: str
) -> Shape:
    """Llama 3.1 and 3.2 (arXiv:2407.21783)."""
    widths = (n_layer, n_embd, n_ff, n_head, 8, head_dim, 128256, 131072, 5e5)
    return _shape("llama", size, *widths, *GATE, "rope_freqs.weight", *tensors)


def _llama(
    size: str,
    widths: tuple[int, int, int, int, int, int],
    n_vocab: int,
    n_ctx: int,
    rope_base: float,
    *tensors: str,
    more: Mapping[str, MetaValue] = NOTHING,
) -> Shape:
    """Others exported as llama; `widths`: layers, n_embd, n_ff, heads, KV heads, head size."""
    return _shape("llama", size, *widths, n_vocab, n_ctx, rope_base, *GATE, *tensors, more=more)


def _qwen2(
    size: str, n_layer: int, n_embd: int, n_ff: int, n_head: int, n_head_kv: int, *tensors: str
) -> Shape:
    """Qwen 2.5 (arXiv:2412.15115); the smaller ones have no head of their own."""
    n_vocab = 151936 if n_layer in (24, 36) or n_embd == 1536 else 152064
    widths = (n_layer, n_embd, n_ff, n_head, n_head_kv, n_embd // n_head, n_vocab, 32768, 1e6)
    return _shape("qwen2", size, *widths, *GATE, *QKV_BIASES, *tensors)


def _qwen3(
    size: str,
    widths: tuple[int, int, int, int, int],
    *tensors: str,
    n_expert: int = 0,
    n_ff_expert: int = 0,
) -> Shape:
    """Qwen 3 (arXiv:2505.09388); `widths`: layers, n_embd, n_ff, heads, KV heads."""
    experts: dict[str, MetaValue] = {}
    if n_expert:
        experts = {"expert_count": n_expert, "expert_used_count": 8}
        experts["expert_feed_forward_length"] = n_ff_expert
    return _shape(
        "qwen3moe" if n_expert else "qwen3",
        size,
        *(*widths, 128, 151936, 40960, 1e6),
        *(*GATE, "attn_q_norm.weight", *tensors),
        more=experts,
    )


def _gemma3(
    size: str, widths: tuple[int, int, int, int, int, int], n_ctx: int, window: int
) -> Shape:
    """Gemma 3 (arXiv:2503.19786); `widths`: layers, n_embd, n_ff, heads, KV heads, head size."""
    norms = ("attn_q_norm.weight",)
    return _shape(
        *("gemma3", size, *widths, 262144, n_ctx, 1e6, *GATE, *norms),
        more={
            "attention.sliding_window": window,
        },
    )


def _gpt_oss(size: str, n_layer: int, n_expert: int) -> Shape:
    """gpt-oss (arXiv:2508.10925)."""
    biases = ("attn_output", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
    return _shape(
        *("gpt-oss", size, n_layer, 2880, 2880, 64, 8, 64, 201088, 131072, 150000.0),
        *("attn_sinks.weight", *HEAD, *QKV_BIASES, *(f"{name}.bias" for name in biases)),
        more={
            "attention.sliding_window": 128,
            "expert_count": n_expert,
            "expert_used_count": 4,
            "expert_feed_forward_length": 2880,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 32.0,
            "rope.scaling.original_context_length": 4096,
        },
    )


def _deepseek_v2_lite() -> Shape:
    """DeepSeek-V2-Lite (arXiv:2405.04434, appendix B), its latent vector absorbed."""
    return _shape(
        *("deepseek2", "16B", 27, 2048, 10944, 16, 1, 576, 102400, 163840, 10000.0),
        *(*GATE, *HEAD, "ffn_gate_shexp.weight", "attn_q.weight"),
        more={
            "attention.value_length": 512,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
            "attention.kv_lora_rank": 512,
            "rope.dimension_count": 64,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 40.0,
            "rope.scaling.original_context_length": 4096,
            "rope.scaling.yarn_log_multiplier": 0.0707,
            "leading_dense_block_count": 1,
            "expert_count": 64,
            "expert_used_count": 6,
            "expert_shared_count": 2,
            "expert_feed_forward_length": 1408,
        },
    )


def _glm_4_5_air() -> Shape:
    """GLM-4.5-Air (arXiv:2508.06471), without the layer that predicts a second token."""
    return _shape(
        *("glm4moe", "106B-A12B", 46, 4096, 10944, 96, 8, 128, 151552, 131072, 1e6),
        *(*GATE, *HEAD, *QKV_BIASES, "ffn_gate_shexp.weight", "exp_probs_b.bias"),
        more={
            "rope.dimension_count": 64,
            "leading_dense_block_count": 1,
            "expert_count": 128,
            "expert_used_count": 8,
            "expert_shared_count": 1,
            "expert_feed_forward_length": 1408,
            "expert_gating_func": 2,
            "expert_weights_norm": True,
        },
    )


def _phi4() -> Shape:
    """Phi 4 (arXiv:2412.08905)."""
    return _shape(
        *("phi3", "15B", 40, 5120, 17920, 40, 10, 128, 100352, 16384, 250000.0), *FUSED, *HEAD
    )


def _phi4_mini() -> Shape:
    """Phi 4 mini (arXiv:2503.01743)."""
    return _shape(
        *("phi3", "4B", 32, 3072, 8192, 24, 8, 128, 200064, 131072, 10000.0),
        *(*FUSED, "rope_factors_long.weight", "rope_factors_short.weight"),
        more={
            "rope.dimension_count": 96,
            "rope.scaling.original_context_length": 4096,
        },
    )


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "tiny": _shape("llama", "tiny", 2, 256, 512, 8, 4, 32, 512, 4096, 1e4, *GATE),
        "smollm2-135m": _llama("135M", (30, 576, 1536, 9, 3, 64), 49152, 8192, 1e5),
        "smollm2-360m": _llama("360M", (32, 960, 2560, 15, 5, 64), 49152, 8192, 1e5),
        "smollm2-1.7b": _llama("1.7B", (24, 2048, 8192, 32, 32, 64), 49152, 8192, 1.3e5),
        "llama-1b": _llama3("1B", 16, 2048, 8192, 32, 64),
        "llama-3b": _llama3("3B", 28, 3072, 8192, 24, 128),
        "llama-7b": _llama("7B", (32, 4096, 11008, 32, 32, 128), 32000, 4096, 1e4, *HEAD),
        "llama-8b": _llama3("8B", 32, 4096, 14336, 32, 128, *HEAD),
        "llama-70b": _llama3("70B", 80, 8192, 28672, 64, 128, *HEAD),
        "mistral-7b": _llama("7B", (32, 4096, 14336, 32, 8, 128), 32768, 32768, 1e6, *HEAD),
        "mistral-nemo-12b": _llama(
            "12B", (40, 5120, 14336, 32, 8, 128), 131072, 131072, 1e6, *HEAD
        ),
        "mistral-small-24b": _llama(
            "24B", (40, 5120, 32768, 32, 8, 128), 131072, 32768, 1e8, *HEAD
        ),
        "mixtral-8x7b": _llama(
            *("8x7B", (32, 4096, 14336, 32, 8, 128), 32000, 32768, 1e6, *HEAD),
            more={
                "expert_count": 8,
                "expert_used_count": 2,
            },
        ),
        "qwen2.5-0.5b": _qwen2("0.5B", 24, 896, 4864, 14, 2),
        "qwen2.5-1.5b": _qwen2("1.5B", 28, 1536, 8960, 12, 2),
        "qwen2.5-3b": _qwen2("3B", 36, 2048, 11008, 16, 2),
        "qwen2.5-7b": _qwen2("7B", 28, 3584, 18944, 28, 4, *HEAD),
        "qwen2.5-14b": _qwen2("14B", 48, 5120, 13824, 40, 8, *HEAD),
        "qwen2.5-32b": _qwen2("32B", 64, 5120, 27648, 40, 8, *HEAD),
        "qwen2.5-72b": _qwen2("72B", 80, 8192, 29568, 64, 8, *HEAD),
        "qwen3-0.6b": _qwen3("0.6B", (28, 1024, 3072, 16, 8)),
        "qwen3-1.7b": _qwen3("1.7B", (28, 2048, 6144, 16, 8)),
        "qwen3-4b": _qwen3("4B", (36, 2560, 9728, 32, 8)),
        "qwen3-8b": _qwen3("8B", (36, 4096, 12288, 32, 8), *HEAD),
        "qwen3-14b": _qwen3("14B", (40, 5120, 17408, 40, 8), *HEAD),
        "qwen3-32b": _qwen3("32B", (64, 5120, 25600, 64, 8), *HEAD),
        "qwen3-30b-a3b": _qwen3(
            "30B-A3B", (48, 2048, 6144, 32, 4), *HEAD, n_expert=128, n_ff_expert=768
        ),
        "qwen3-235b-a22b": _qwen3(
            "235B-A22B", (94, 4096, 12288, 64, 4), *HEAD, n_expert=128, n_ff_expert=1536
        ),
        "gemma-3-1b": _gemma3("1B", (26, 1152, 6912, 4, 1, 256), 32768, 512),
        "gemma-3-4b": _gemma3("4B", (34, 2560, 10240, 8, 4, 256), 131072, 1024),
        "gemma-3-12b": _gemma3("12B", (48, 3840, 15360, 16, 8, 256), 131072, 1024),
        "gemma-3-27b": _gemma3("27B", (62, 5376, 21504, 32, 16, 128), 131072, 1024),
        "phi-4": _phi4(),
        "phi-4-mini": _phi4_mini(),
        "gpt-oss-20b": _gpt_oss("20B", 24, 32),
        "gpt-oss-120b": _gpt_oss("120B", 36, 128),
        "deepseek-v2-lite": _deepseek_v2_lite(),
        "glm-4.5-air": _glm_4_5_air(),
    }
)
"""By name, as people call them."""
