"""CUDA without a GPU: the project's kernels, compiled by g++ and run on the CPU, with checks a GPU
never makes.
"""

from __future__ import annotations

from gguf_run.cuda.emulator.device import EmulatedDevice

__all__ = ["EmulatedDevice"]
