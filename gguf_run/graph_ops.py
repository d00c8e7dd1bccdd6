"""The types of a graph's results and the names of its ops."""

from __future__ import annotations

from gguf_run.quants import QuantType, quant_type

F32 = quant_type("F32")
F16 = quant_type("F16")
I32 = quant_type("I32")
Q8_1 = quant_type("Q8_1")
Q16_1 = QuantType("Q16_1", -1, 32, 72)
"""Activations in two int8 terms (see `Graph.cast`); no type of files."""
F16_SCALED = QuantType("F16_SCALED", -1, 32, 68)
F16_PAIR = QuantType("F16_PAIR", -1, 32, 136)
F16_TILES = QuantType("F16_TILES", -1, 128, 260)
"""Activations as tensor cores take them (see `Graph.cast`); no types of files."""

CAST_FORMS = (Q8_1, Q16_1, F16_SCALED, F16_PAIR, F16_TILES)
"""Forms in which products may take activations."""

GLU_OPS = ("swiglu", "geglu", "reglu", "geglu_erf", "geglu_quick")
"""Gated units `act(gate) * up`: silu, gelu (tanh), relu, gelu (erf), x * sigmoid(1.702 x)."""

SAMPLER = (
    *("top_k", "min_keep", "top_p", "log_min_p"),
    *("temperature", "repeat", "frequency", "presence"),
)
"""What a row of the op `sample` draws by, rounding by rounding the chain of `gguf_run.sampling`.

logits + bias are penalised by counts, how often each token stands in the recent text; then come
top-k (1 to `MAX_SAMPLED`), top-p (above 1: off) and min-p (its logarithm, -inf: off), both of which
keep min_keep or more, the temperature, and the first candidate at which the sum of weights reaches
u times the total; `draw` is u * 2^64 in two words, the lower first. -1 stands for a token that
can't be drawn, the highest logit being infinite. `sample_all` draws among all tokens in the order
of their ids, without top-k, top-p and min_keep; its sums are float64 in any order.
"""

MAX_SAMPLED = 256
"""Candidates among which `sample` draws."""

VIEW_OPS = ("reshape", "view")
"""Ops that move no data: their result is another look at their source's bytes."""

UNARY_OPS = ("silu", "gelu", "relu", "sqr", "sigmoid", "softplus")
"""x * sigmoid(x), gelu (tanh), max(x, 0), x^2, 1 / (1 + exp(-x)), log(1 + exp(x))."""

OPS = (
    *("get_rows", "set_rows", "mul_mat", "rms_norm", "norm", "rope", "flash_attn_ext"),
    *("cast", "add", "mul", "scale", "softcap", "clamp", "concat"),
    *("soft_max", "sum_rows", "argmax", "top_k", "log_prob", "sample", "sample_all"),
    *("moe_ids", "moe_weights", "moe_group", "moe_sum", "add_id"),
    *("mul_mat_id", "mul_mat_batched"),
    *("scale_by_position", "ssm_conv", "ssm_scan", "gated_delta_net", "set_states"),
    *UNARY_OPS,
    *GLU_OPS,
    *("swiglu_oai", "xielu"),
)
"""Every op that a backend must run (view ops are resolved by the plan)."""
