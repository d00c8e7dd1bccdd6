"""The sampler chain on the host: which token follows, given a position's logits.

Same steps, same figures and same draws for a seed as llama.cpp's (0c1e57098 is what they were
compared with). Where it leaves something open, the choice is written at the place: equal logits
stand in the order of their positions, and `typ_p` passes over candidates of probability 0.
"""

from __future__ import annotations

from gguf_run.sampling.chain import Sampled, SamplerChain
from gguf_run.sampling.dry import sequence_breakers
from gguf_run.sampling.file_defaults import file_defaults
from gguf_run.sampling.likeliest import TopLogprobs, likeliest
from gguf_run.sampling.on_device import DeviceSampling
from gguf_run.sampling.params import DEFAULT_SAMPLERS, SAMPLER_NAMES, SamplingParams

__all__ = [
    "DEFAULT_SAMPLERS",
    "SAMPLER_NAMES",
    "DeviceSampling",
    "Sampled",
    "SamplerChain",
    "SamplingParams",
    "TopLogprobs",
    "file_defaults",
    "likeliest",
    "sequence_breakers",
]
