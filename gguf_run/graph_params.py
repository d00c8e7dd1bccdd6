"""The parameters of ops that have any: what is fixed when the graph is built."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RopeMode(Enum):
    """Which elements of a head RoPE rotates together."""

    NORM = "norm"
    """Neighbours: (0, 1), (2, 3), ..."""
    NEOX = "neox"
    """Halves: (0, n_dims / 2), (1, n_dims / 2 + 1), ..."""


@dataclass(frozen=True, slots=True)
class RopeParams:
    """Rotary embedding with YaRN (arXiv:2309.00071), as ggml's rope op parametrises it.

    `n_dims` leading elements of each head are rotated. Pair i turns by
    `position * freq_base ** (-2 i / n_dims) / freq_factor[i]`, scaled by `freq_scale`; `ext_factor`
    > 0 mixes in the unscaled angle for the fast pairs, between the pairs that turn `beta_fast` and
    `beta_slow` times over `n_ctx_orig` positions. Cosines and sines are multiplied by `attn_factor`
    (times 1 + 0.1 ln(1 / freq_scale) where `ext_factor` > 0).
    """

    mode: RopeMode
    n_dims: int
    freq_base: float
    freq_scale: float = 1.0
    ext_factor: float = 0.0
    attn_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    n_ctx_orig: int = 0


@dataclass(frozen=True, slots=True)
class AttentionParams:
    """Which keys are seen, and what becomes of q.k.

    `causal`: key j is seen from position i where `i - window < j <= i`. Else every key up to the
    last position that the sequence has in the batch, where `|i - j| <= window / 2`. `window` 0 is
    none. Causal attention with `chunk` c > 0 sees the keys from the last multiple of c on. `scale`
    multiplies q.k; `softcap` c > 0 turns a score s into c tanh(s / c); then `max_bias` > 0 takes
    `slope * |i - j|` from it, a slope a head (ALiBi, arXiv:2108.12409).
    """

    scale: float
    window: int = 0
    softcap: float = 0.0
    causal: bool = True
    max_bias: float = 0.0
    chunk: int = 0

    def slopes(self, n_head: int) -> list[float]:
        """ALiBi's slope of each head: powers of 2^(-max_bias / n) for the first n heads, n the
        largest power of two; odd powers of that factor's root for the others."""
        n = 1 << n_head.bit_length() - 1
        first = [2 ** (-self.max_bias * (h + 1) / n) for h in range(n)]
        return first + [2 ** (-self.max_bias * (h + 0.5) / n) for h in range(n_head - n)]


@dataclass(frozen=True, slots=True)
class NormParams:
    """`eps` is added to the mean square (rms_norm) or the variance (norm)."""

    eps: float


@dataclass(frozen=True, slots=True)
class ScaleParams:
    """The factor of `scale`, the cap of `softcap` or the limit of `clamp`; what `scale` adds."""

    value: float
    bias: float = 0.0


@dataclass(frozen=True, slots=True)
class TopKParams:
    """How many of the largest elements of each row `top_k` returns."""

    k: int


class Gating(Enum):
    """How a router turns an expert's logit into its score."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    SOFTMAX_SELECTED = "softmax over the selected experts"
    SQRT_SOFTPLUS = "square root of softplus"


@dataclass(frozen=True, slots=True)
class RouterParams:
    """How a router chooses `n_used` experts of each token and weighs them (arXiv:2412.19437).

    Experts stand in `n_group` equal groups; where there are several, only the experts of the
    `n_group_used` groups whose two best scores have the largest sums can be chosen. `normalise`
    divides the weights by their sum (at least 2^-14), then all are multiplied by `scale`.
    """

    n_used: int
    gating: Gating = Gating.SOFTMAX
    normalise: bool = True
    scale: float = 1.0
    n_group: int = 1
    n_group_used: int = 1


@dataclass(frozen=True, slots=True)
class GroupParams:
    """`moe_group`: how many experts there are, and pairs in a tile at most."""

    n_expert: int
    size: int


@dataclass(frozen=True, slots=True)
class GluParams:
    """`swiglu_oai`: the steepness `alpha` of its gate and the `limit` of gate and up."""

    alpha: float
    limit: float


@dataclass(frozen=True, slots=True)
class XieluParams:
    """`xielu`: for x > 0 `alpha_p x^2 + beta x`, else `alpha_n (exp(min(x, eps)) - 1 - x) + beta
    x`."""

    alpha_n: float
    alpha_p: float
    beta: float
    eps: float


@dataclass(frozen=True, slots=True)
class TemperatureParams:
    """How `scale_by_position` grows: by `growth` times the logarithm of the number of `length`s."""

    growth: float
    length: int
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class DeltaParams:
    """Which key head value head v reads: v // (n_head_v / n_head_k), or where `in_turn` is set,
    v % n_head_k."""

    in_turn: bool


Params = (
    RopeParams
    | AttentionParams
    | NormParams
    | ScaleParams
    | TopKParams
    | RouterParams
    | GroupParams
    | GluParams
    | XieluParams
    | TemperatureParams
    | DeltaParams
    | None
)
