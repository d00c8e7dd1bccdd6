"""Tiny models of the families beyond the first four: rows for make_gguf.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from family_layers import FINE, PRE_FFN, SHARED, deepseek2, gemma4, hybrid, lfm2, minicpm3
from family_mamba import MAMBA_FAMILIES
from family_more import MORE_FAMILIES
from model_maker import Variant, decoder, scaling


def _row(arch: str, *parts: str, **fields: Any) -> Variant:
    return Variant(arch, decoder, parts=frozenset(parts), **fields)


def _window(size: int = 16, **more: object) -> dict[str, object]:
    return {"attention.sliding_window": size, **more}


EPS: dict[str, object] = {"attention.layer_norm_epsilon": 1e-5}
BIASES = ("qkv_bias", "attn_output_bias")
FALCON = ("norm_bias", "fused_qkv", "plain_ffn")
GPT = ("norm_bias", "qkv_bias", "attn_output_bias", "ffn_bias", "plain_ffn")
POST_ONLY = ("post_norms", "only_post_norms")
SANDWICH = ("post_norms", "tied")
SECTIONS = {"rope.dimension_sections": [2, 1, 1, 0]}
SIGMOID = {"expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 1.5}
SMALL: dict[str, Any] = {"n_embd": 32, "n_ff": 32, "head_dim": 8, "n_rot": 8}
"""For models that are known by their many layers."""

gemma = partial(_row, head_dim=32, n_rot=32)
moe = partial(_row, n_expert=8)
neox = partial(_row, "gptneox", *GPT, "fused_qkv", n_head_kv=4, n_rot=4)

FAMILIES: dict[str, Variant] = {
    **MAMBA_FAMILIES,
    **MORE_FAMILIES,
    # Mixtures of experts
    "mixtral": moe("llama", n_ff=32),
    "qwen2moe": moe(
        "qwen2moe",
        *("qkv_bias", "shared_gate"),
        n_ff_shared=48,
        keys={**FINE, "expert_shared_feed_forward_length": 48},
    ),
    "qwen3moe": moe("qwen3moe", "qk_norm", n_expert=16, keys=FINE),
    "glm4moe": moe(
        "glm4moe",
        *("qkv_bias", "qk_norm", "choice_bias"),
        n_rot=8,
        n_dense=1,
        n_ff_shared=32,
        ffn_norm=PRE_FFN,
        keys={**FINE, **SIGMOID, "expert_shared_count": 1, "leading_dense_block_count": 1},
    ),
    "gpt-oss": moe(
        "gpt-oss",
        *("qkv_bias", "attn_output_bias", "sinks", "expert_bias"),
        n_layer=3,
        ffn_norm=PRE_FFN,
        keys={**FINE, **_window(), **scaling("yarn")},
    ),
    "olmoe": moe("olmoe", "wide_qk_norm", n_head_kv=4, n_ff=32),
    "granitemoe": moe(
        "granitemoe",
        n_ff=32,
        n_ff_shared=48,
        keys={
            "embedding_scale": 6.0,
            "residual_scale": 0.22,
            "attention.scale": 0.1,
            "logit_scale": 2.0,
            "expert_shared_feed_forward_length": 48,
        },
    ),
    "deepseek": moe(
        "deepseek",
        seed=1,
        n_dense=1,
        n_ff_shared=64,
        keys={**FINE, **SHARED, "leading_dense_block_count": 1, "expert_weights_scale": 1.0},
    ),
    "dots1": moe(
        "dots1",
        *("qk_norm", "choice_bias"),
        n_head_kv=4,
        n_dense=1,
        n_ff_shared=64,
        keys={**FINE, **SHARED, **SIGMOID, "leading_dense_block_count": 1},
    ),
    "dbrx": moe(
        "dbrx",
        "fused_qkv",
        n_ff=32,
        ffn_norm="attn_output_norm",
        keys={**EPS, "attention.clamp_kqv": 1.0},
    ),
    "hunyuan-moe": moe(
        "hunyuan-moe",
        "qk_norm",
        n_ff=32,
        n_ff_shared=48,
        keys={**FINE, "expert_shared_feed_forward_length": 48},
    ),
    "ernie4_5-moe": moe(
        "ernie4_5-moe",
        "choice_bias",
        n_layer=4,
        n_dense=1,
        n_ff_shared=48,
        keys={
            **FINE,
            "leading_dense_block_count": 1,
            "interleave_moe_layer_step": 1,
            "expert_shared_feed_forward_length": 48,
            "expert_shared_count": 1,
        },
    ),
    "bailingmoe": moe(
        "bailingmoe",
        n_ff_shared=64,
        keys={
            **FINE,
            **SHARED,
            "leading_dense_block_count": 0,
            "expert_weights_scale": 1.0,
            "expert_weights_norm": True,
        },
    ),
    "minimax-m2": moe(
        "minimax-m2",
        *("wide_qk_norm", "choice_bias"),
        n_ff=32,
        n_rot=8,
        keys={**FINE, "expert_gating_func": 2},
    ),
    "bailingmoe2": moe(
        "bailingmoe2",
        *("fused_qkv", "qk_norm", "choice_bias"),
        n_dense=1,
        n_rot=8,
        n_ff_shared=32,
        keys={
            **FINE,
            **SIGMOID,
            "expert_shared_count": 1,
            "leading_dense_block_count": 1,
            "expert_group_count": 4,
            "expert_group_used_count": 2,
        },
    ),
    "exaone-moe": moe(
        "exaone-moe",
        *("qk_norm", "choice_bias"),
        n_layer=5,
        n_dense=1,
        n_ff_shared=32,
        keys={
            **FINE,
            **SIGMOID,
            **_window(),
            "expert_shared_count": 1,
            "leading_dense_block_count": 1,
            "attention.sliding_window_pattern": [True, True, True, False, True],
        },
    ),
    "phimoe": moe("phimoe", *BIASES, "norm_bias", "head_bias", n_ff=32, n_head_kv=4, seed=1),
    "lfm2moe": lfm2(
        "choice_bias",
        seed=1,
        n_expert=8,
        n_dense=2,
        keys={**FINE, "leading_dense_block_count": 2, "expert_gating_func": 2},
    ),
    "lfm2": lfm2(),
    # A scale a matrix
    "llama-scales": _row("llama", "qkv_bias", "scales"),
    "qwen3moe-scales": moe("qwen3moe", "qk_norm", "scales", keys=FINE),
    # Extreme values
    "qwen3-huge": _row("qwen3", "qk_norm", "steep_k", "huge"),
    "qwen3moe-huge": moe("qwen3moe", "qk_norm", "steep_k", "huge", keys=FINE, seed=1),
    "glm4moe-shut-router": moe(
        "glm4moe",
        *("qkv_bias", "choice_bias", "shut_router"),
        n_ff_shared=32,
        ffn_norm=PRE_FFN,
        keys={**FINE, **SIGMOID, "expert_shared_count": 1, "leading_dense_block_count": 0},
    ),
    # Latent attention
    "deepseek2": deepseek2(keys=scaling("yarn", yarn_log_multiplier=0.1)),
    "deepseek2-lite": deepseek2(
        "direct_q", n_layer=27, keys=scaling("yarn", yarn_log_multiplier=0.0707)
    ),
    "deepseek2-legacy": deepseek2("legacy", keys=scaling("yarn", yarn_log_multiplier=0.1)),
    "deepseek2-groups": deepseek2(
        "choice_bias", keys={**SIGMOID, "expert_group_count": 4, "expert_group_used_count": 2}
    ),
    "deepseek2-warm": deepseek2(
        keys={
            **scaling("yarn", 16),
            "attention.temperature_scale": 0.3,
            "attention.temperature_length": 24,
        }
    ),
    "deepseek2-yarn": deepseek2(keys=scaling("yarn")),
    "deepseek2-yarn-attn-factor": deepseek2(keys=scaling("yarn", attn_factor=1.2)),
    "deepseek2-linear": deepseek2(keys=scaling("linear")),
    "mistral4": deepseek2(arch="mistral4", keys=scaling("yarn", yarn_log_multiplier=1.0)),
    "minicpm3": minicpm3(),
    "deepseek2-fused-experts": deepseek2("fused_experts"),
    # Linear attention
    "qwen35": hybrid("qwen35", keys=SECTIONS),
    "qwen35-tied": hybrid("qwen35", "tied", keys={**SECTIONS, "full_attention_interval": 4}),
    "qwen35moe": hybrid("qwen35moe", n_expert=8, keys=SECTIONS),
    "qwen3next": hybrid("qwen3next", "joint_gates", n_expert=8),
    "qwen3next-one-product": hybrid("qwen3next", "joint_gates", "one_product", n_expert=8),
    # Gemma, GLM
    "gemma": gemma("gemma", "tied"),
    "gemma2": gemma("gemma2", *SANDWICH, n_layer=3, keys=_window()),
    "gemma2-none": gemma("gemma2", *SANDWICH, n_layer=3, keys={**_window(), **scaling("none")}),
    "gemma3": gemma(
        "gemma3",
        *(*SANDWICH, "qk_norm"),
        n_layer=7,
        rope_base=1e6,
        keys={**_window(), **scaling("linear")},
    ),
    "gemma3-no-window": gemma("gemma3", *SANDWICH, "qk_norm"),
    "gemma4": gemma4("layer_inputs"),
    "gemma4-experts": gemma4("fused_experts", "values_are_keys", n_expert=8),
    "glm4": _row("glm4", "qkv_bias", "post_norms", "fused_ffn", n_rot=8),
    "glm4-sections": _row("glm4", "qkv_bias", "post_norms", "fused_ffn", n_rot=8, keys=SECTIONS),
    "glm4moe-sections": moe(
        "glm4moe",
        *("qkv_bias", "choice_bias"),
        n_rot=8,
        n_ff_shared=32,
        ffn_norm=PRE_FFN,
        keys={
            **FINE,
            **SIGMOID,
            **SECTIONS,
            "expert_shared_count": 1,
            "leading_dense_block_count": 0,
        },
    ),
    "qwen2vl": _row("qwen2vl", "qkv_bias", keys={"rope.dimension_sections": [3, 3, 2, 0]}),
    "qwen3vl": _row(
        "qwen3vl",
        "qk_norm",
        "tied",
        keys={"rope.dimension_sections": [3, 3, 2, 0], "n_deepstack_layers": 0},
    ),
    "qwen3vlmoe": moe(
        "qwen3vlmoe",
        "qk_norm",
        keys={**FINE, "rope.dimension_sections": [3, 3, 2, 0], "n_deepstack_layers": 3},
    ),
    "chatglm": _row("chatglm", "fused_qkv", "qkv_bias", "fused_ffn", n_rot=8),
    # Layer norms
    "phi2": _row("phi2", *GPT, "head_bias", n_head_kv=4, n_rot=8, ffn_norm="", keys=EPS),
    "stablelm": _row("stablelm", "norm_bias", "qkv_bias", n_rot=4, keys=EPS),
    "stablelm-12b": _row(
        "stablelm", "norm_bias", "qk_norm_by_head", n_rot=4, ffn_norm="", keys=EPS
    ),
    "starcoder2": _row("starcoder2", *GPT, keys=EPS),
    "gpt2": _row("gpt2", *GPT, "fused_qkv", "positions", n_head_kv=4, keys=EPS, seed=1),
    "starcoder": _row("starcoder", *GPT, "fused_qkv", "positions", n_head_kv=1, keys=EPS),
    "gptneox": neox(keys={**EPS, "use_parallel_residual": True}),
    "gptneox-serial": neox(keys={**EPS, "use_parallel_residual": False}),
    "falcon": _row("falcon", *FALCON, n_head_kv=1, ffn_norm="", keys=EPS),
    "falcon-40b": _row("falcon", *FALCON, "second_attn_norm", ffn_norm="", keys=EPS),
    "codeshell": _row("codeshell", *GPT, "fused_qkv", keys=EPS),
    "orion": _row("orion", "norm_bias", keys=EPS),
    "nemotron": _row("nemotron", "norm_bias", "plain_ffn", n_rot=8, keys=EPS),
    "command-r": _row("command-r", "tied", ffn_norm="", keys={**EPS, "logit_scale": 0.0625}),
    "command-r-plus": _row(
        "command-r",
        *("tied", "qk_norm_by_head"),
        **SMALL,
        n_layer=64,
        ffn_norm="",
        keys={**EPS, "logit_scale": 0.8},
    ),
    "cohere2": _row(
        "cohere2", "tied", n_layer=5, ffn_norm="", keys={**EPS, **_window(), "logit_scale": 0.25}
    ),
    "olmo": _row("olmo", "no_norm_weights", keys={**EPS, "attention.clamp_kqv": 1.0}, seed=1),
    # Llama, more or less
    "olmo2": _row("olmo2", *POST_ONLY, "wide_qk_norm", ffn_norm=""),
    "olmo3": _row(
        "olmo2",
        *(*POST_ONLY, "wide_qk_norm"),
        n_layer=5,
        ffn_norm="",
        keys={**_window(), **scaling("yarn")},
    ),
    "exaone4": _row(
        "exaone4", *POST_ONLY, "qk_norm", n_layer=3, ffn_norm="", keys=_window(), seed=2
    ),
    "exaone4-32b": _row(
        "exaone4",
        *(*POST_ONLY, "qk_norm", "rope_freqs"),
        seed=1,
        **SMALL,
        n_layer=64,
        ffn_norm="",
        keys=_window(),
    ),
    "granite": _row(
        "granite",
        keys={
            "embedding_scale": 12.0,
            "residual_scale": 0.22,
            "attention.scale": 0.2,
            "logit_scale": 8.0,
        },
    ),
    "minicpm": _row("minicpm"),
    "internlm2": _row("internlm2"),
    "xverse": _row("xverse"),
    "ernie4_5": _row("ernie4_5", "tied"),
    "exaone": _row("exaone", "rope_freqs"),
    "seed_oss": _row("seed_oss", "qkv_bias", ffn_norm=PRE_FFN),
    "smollm3": _row("smollm3", "tied", n_layer=5),
    "hunyuan-dense": _row("hunyuan-dense", "qk_norm"),
    "plamo": _row("plamo", ffn_norm=""),
    "qwen": _row("qwen", "fused_qkv", "qkv_bias", "halved_ffn", n_head_kv=4),
    "baichuan": _row("baichuan", **SMALL, n_head_kv=4, n_layer=32),
    "bitnet": _row("bitnet", "sub_norms", "tied"),
    "arcee": _row("arcee", "plain_ffn"),
    "mistral3": _row("mistral3", keys=scaling("yarn", yarn_log_multiplier=1.0)),
    "mistral3-warm": _row(
        "mistral3", keys={**scaling("yarn", 16), "attention.temperature_scale": 0.3}
    ),
    "mistral3-yarn": _row("mistral3", keys=scaling("yarn", yarn_beta_fast=4.0, yarn_beta_slow=0.5)),
    "mistral3-experts": moe("mistral3", n_ff=32),
}
