"""The reference's ops that go element by element; see `reference.py`."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi

import numpy as np

from gguf_run.graph import GluParams, ScaleParams, TemperatureParams, Tensor, XieluParams
from gguf_run.reference import REFERENCE, Array, Floats, op, sigmoid_of, softplus_of


@op
def add(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    np.add(a, b, out=out)


@op
def mul(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    np.multiply(a, b, out=out)


@op
def scale(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    np.multiply(x, np.float32(t.params.value), out=out)
    out += np.float32(t.params.bias)


@op
def softcap(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    cap = np.float32(t.params.value)
    np.multiply(np.tanh(x / cap), cap, out=out)


@op
def scale_by_position(t: Tensor, out: Floats, x: Floats, positions: Array) -> None:
    p = t.params
    assert isinstance(p, TemperatureParams)
    n_length = np.floor((positions + p.offset) / p.length)
    factor = 1 + p.growth * np.log1p(n_length)
    np.multiply(x, factor.astype(np.float32)[:, None, None], out=out)


@op
def clamp(t: Tensor, out: Floats, x: Floats) -> None:
    assert isinstance(t.params, ScaleParams)
    np.clip(x, np.float32(-t.params.value), np.float32(t.params.value), out=out)


@op
def concat(t: Tensor, out: Floats, a: Floats, b: Floats) -> None:
    out[..., : a.shape[-1]] = a
    out[..., a.shape[-1] :] = b


def _silu(x: Floats) -> Floats:
    return x * sigmoid_of(x)


def _gelu(x: Floats) -> Floats:
    # The tanh form of GELU (arXiv:1606.08415); x * sigmoid(2 z) = x * (1 + tanh z) / 2.
    z = np.float32((2 / pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    return x * sigmoid_of(2 * z)


def _gelu_erf(x: Floats) -> Floats:
    erf_of = np.vectorize(erf, otypes=[np.float32])
    result: Floats = x * 0.5 * (1 + erf_of(x / np.float32(2**0.5)))
    return result


def _gelu_quick(x: Floats) -> Floats:
    return x * sigmoid_of(np.float32(1.702) * x)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


def _register_unary(name: str, function: Callable[[Floats], Floats]) -> None:
    def run(t: Tensor, out: Floats, x: Floats) -> None:
        out[...] = function(x)

    REFERENCE[name] = run


def _register_glu(name: str, function: Callable[[Floats], Floats]) -> None:
    def run(t: Tensor, out: Floats, gate: Floats, up: Floats) -> None:
        np.multiply(function(gate), up, out=out)

    REFERENCE[name] = run


_UNARY: dict[str, Callable[[Floats], Floats]] = {
    "silu": _silu,
    "gelu": _gelu,
    "relu": _relu,
    "sqr": np.square,
    "sigmoid": sigmoid_of,
    "softplus": softplus_of,
}
_GLU: dict[str, Callable[[Floats], Floats]] = {
    "swiglu": _silu,
    "geglu": _gelu,
    "reglu": _relu,
    "geglu_erf": _gelu_erf,
    "geglu_quick": _gelu_quick,
}
for _name, _function in _UNARY.items():
    _register_unary(_name, _function)
for _name, _function in _GLU.items():
    _register_glu(_name, _function)


@op
def swiglu_oai(t: Tensor, out: Floats, gate: Floats, up: Floats) -> None:
    p = t.params
    assert isinstance(p, GluParams)
    g = np.minimum(gate, np.float32(p.limit))
    u = np.clip(up, np.float32(-p.limit), np.float32(p.limit))
    np.multiply(g * sigmoid_of(np.float32(p.alpha) * g), 1 + u, out=out)


@op
def xielu(t: Tensor, out: Floats, x: Floats) -> None:
    p = t.params
    assert isinstance(p, XieluParams)
    above, eps = np.maximum(x, 0), np.float32(p.eps)
    below = np.where(x > 0, np.float32(0), np.expm1(np.minimum(x, eps)) - x)
    out[...] = p.alpha_p * above * above + p.alpha_n * below + p.beta * x
