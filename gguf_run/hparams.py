"""Hyper-parameters of a model, typed and checked, read from a GGUF file's metadata.

What every architecture shares is a field of `HParams`; what one family alone needs it reads through
`HParams.keys`, whose lookups name the key, what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gguf_run.errors import ModelError

MAX_LAYERS = 4096
MAX_DIMENSION = 1 << 24


@dataclass(frozen=True, slots=True)
class Keys:
    """Typed access to the metadata keys `<arch>.*` of one file."""

    metadata: Mapping[str, Any]
    arch: str
    source: str

    def _fail(self, key: str, expected: str, found: Any) -> ModelError:
        shown = "nothing" if found is None else repr(found)[:80]
        return ModelError(f"{self.source}: key {key}: expected {expected}, found {shown}")

    def get(self, key: str) -> Any:
        """The raw value of `<arch>.<key>`, or None."""
        return self.metadata.get(f"{self.arch}.{key}")

    def integer(
        self, key: str, default: int | None = None, low: int = 1, high: int = MAX_DIMENSION
    ) -> int:
        """An integer in low..high; without a default the key must be there."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._fail(f"{self.arch}.{key}", f"an integer in {low}..{high}", value)
        return value

    def number(self, key: str, default: float | None = None, low: float = 0.0) -> float:
        """A finite number of at least `low`; without a default the key must be there."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not np.isfinite(value) or value < low:
            raise self._fail(f"{self.arch}.{key}", f"a finite number >= {low:g}", value)
        return float(value)

    def text(self, key: str, default: str) -> str:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._fail(f"{self.arch}.{key}", "a string", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._fail(f"{self.arch}.{key}", "a bool", value)
        return value

    def per_layer(self, key: str, n_layer: int, default: tuple[int, ...] | None) -> tuple[int, ...]:
        """One integer (or bool) a layer, from an array of at least `n_layer` or one for all."""
        value = self.get(key)
        if isinstance(value, np.ndarray | list):
            items = [v.item() if isinstance(v, np.generic) else v for v in value]
            ok = all(isinstance(v, int) and 0 <= v <= MAX_DIMENSION for v in items)
            if not ok or len(items) < n_layer:
                raise self._fail(f"{self.arch}.{key}", f"{n_layer} non-negative integers", value)
            return tuple(int(v) for v in items[:n_layer])
        if value is None and default is not None:
            return default
        return (self.integer(key, low=0),) * n_layer

    def numbers(self, key: str, n_layer: int, default: float | None = None) -> tuple[float, ...]:
        """One finite number a layer, from an array of at least `n_layer` or one for all."""
        value = self.get(key)
        if isinstance(value, np.ndarray | list):
            items = [float(v) for v in value if isinstance(v, int | float | np.number)]
            if len(items) < max(n_layer, len(value)) or not np.isfinite(items).all():
                raise self._fail(f"{self.arch}.{key}", f"{n_layer} finite numbers", value)
            return tuple(items[:n_layer])
        return (self.number(key, default, low=-np.inf),) * n_layer


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How a model stretches RoPE past the context it was trained with.

    `factor` is how much longer the context became, `freq_scale` multiplies positions (1 / factor,
    but 1 where the kind is "none"), `ext_factor` 1 turns YaRN's mix on,
    `n_ctx_orig` is the context length before stretching, `attn_factor` multiplies cos and sin.
    """

    kind: str
    factor: float
    freq_scale: float
    ext_factor: float
    attn_factor: float
    n_ctx_orig: int


@dataclass(frozen=True, slots=True)
class HParams:
    """What the architectures have in common; widths in elements, `n_*` counts.

    `n_ff`, `n_head` and `n_head_kv` have one entry a layer. `head_dim_k` and `head_dim_v` are the
    widths of a head's keys (and queries) and values; RoPE turns its `n_rot` leading elements.
    `norm_rms_eps` is for RMS norms, `norm_eps` for layer norms.
    """

    arch: str
    name: str
    n_vocab: int
    n_ctx_train: int
    n_embd: int
    n_layer: int
    n_ff: tuple[int, ...]
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    head_dim_k: int
    head_dim_v: int
    n_rot: int
    norm_rms_eps: float
    norm_eps: float
    rope_freq_base: float
    rope_scaling: RopeScaling
    keys: Keys

    @property
    def window(self) -> int:
        """Keys that the layers with a window see, 0 where the file names none."""
        return self.keys.integer("attention.sliding_window", 0, low=0, high=1 << 32)

    @property
    def causal(self) -> bool:
        """Whether a token sees those before it alone, as is usual."""
        return self.keys.flag("attention.causal", True)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], source: str) -> HParams:
        """Read the hyper-parameters; `source` names the file in errors.

        Raises `ModelError` where a required key is missing or a value can't be.
        """
        arch = architecture_name(metadata, source)
        keys = Keys(metadata, arch, source)
        n_layer = _n_layer(keys)
        n_embd = keys.integer("embedding_length")
        n_head = keys.per_layer("attention.head_count", n_layer, None)
        n_head_kv = keys.per_layer("attention.head_count_kv", n_layer, n_head)
        _check_heads(keys, n_head, n_head_kv)
        head_dim = n_embd // max(n_head) if max(n_head) else n_embd
        head_dim_k = keys.integer("attention.key_length", head_dim)
        head_dim_v = keys.integer("attention.value_length", head_dim)
        n_ctx_train = keys.integer("context_length", high=1 << 31)
        name = metadata.get("general.name")
        return cls(
            arch=arch,
            name=name if isinstance(name, str) else "",
            n_vocab=_n_vocab(keys),
            n_ctx_train=n_ctx_train,
            n_embd=n_embd,
            n_layer=n_layer,
            n_ff=keys.per_layer("feed_forward_length", n_layer, (0,) * n_layer),
            n_head=n_head,
            n_head_kv=n_head_kv,
            head_dim_k=head_dim_k,
            head_dim_v=head_dim_v,
            n_rot=keys.integer("rope.dimension_count", head_dim_k, low=0, high=head_dim_k),
            norm_rms_eps=keys.number("attention.layer_norm_rms_epsilon", 1e-5),
            norm_eps=keys.number("attention.layer_norm_epsilon", 1e-5),
            rope_freq_base=keys.number("rope.freq_base", 10000.0, low=1.0),
            rope_scaling=_rope_scaling(keys, n_ctx_train),
            keys=keys,
        )


def _n_layer(keys: Keys) -> int:
    """Layers without those that predict further tokens, which stand behind them."""
    n_all = keys.integer("block_count", high=MAX_LAYERS)
    return n_all - keys.integer("nextn_predict_layers", 0, low=0, high=n_all - 1)


def _check_heads(keys: Keys, n_head: tuple[int, ...], n_head_kv: tuple[int, ...]) -> None:
    may_have_none = max(n_head) > 0 or keys.get("ssm.state_size") is not None
    for il, (h, kv) in enumerate(zip(n_head, n_head_kv, strict=True)):
        # Layers without attention have no KV heads.
        if (h < 1 and not may_have_none) or (kv and (h < 1 or h % kv)):
            raise ModelError(
                f"{keys.source}: layer {il}: expected attention.head_count to be a multiple of "
                f"head_count_kv, found {h} and {kv}"
            )


def _n_vocab(keys: Keys) -> int:
    """The number of tokens the file lists, or `<arch>.vocab_size` where it lists none."""
    tokens = keys.metadata.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, list) and tokens else keys.integer("vocab_size")


def _rope_scaling(keys: Keys, n_ctx_train: int) -> RopeScaling:
    kinds = ("none", "linear", "yarn", "longrope")
    kind = keys.text("rope.scaling.type", "linear")
    if kind not in kinds:
        raise ModelError(
            f"{keys.source}: key {keys.arch}.rope.scaling.type: expected one of "
            f"{', '.join(kinds)}, found {kind!r}"
        )
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 0.0)) or 1.0
    return RopeScaling(
        kind=kind,
        factor=factor,
        freq_scale=1.0 if kind == "none" else 1.0 / factor,
        ext_factor=1.0 if kind == "yarn" else 0.0,
        attn_factor=keys.number("rope.scaling.attn_factor", 1.0),
        n_ctx_orig=keys.integer("rope.scaling.original_context_length", 0, low=0, high=1 << 31)
        or n_ctx_train,
    )


_NO_MODELS = {
    "adapter": "an adapter (LoRA): merge it into its model (llama-export-lora), then open that",
    "imatrix": "an importance matrix, which is for quantising; open the model itself",
    "controlvector": "a control vector, which only changes a model; open the model itself",
}
"""Files of another kind, by `general.type` or `general.architecture`."""


def architecture_name(metadata: Mapping[str, Any], source: str) -> str:
    """The value of `general.architecture`; `ModelError` where the file is no model."""
    arch = metadata.get("general.architecture")
    kind = str(metadata.get("general.type"))
    other = _NO_MODELS.get(kind) or _NO_MODELS.get(str(arch))
    if other is not None:
        raise ModelError(f"{source}: expected a model, found {other}")
    if not isinstance(arch, str):
        raise ModelError(
            f"{source}: key general.architecture: expected a string, found {arch!r}; "
            "is this a model (and not a vocabulary, adapter or projector alone)?"
        )
    return arch
