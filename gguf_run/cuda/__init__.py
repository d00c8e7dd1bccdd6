"""The CUDA backend.

How the kernel library is laid out
----------------------------------
One `.cu` file an op family in `kernels/`, its launcher in `ops/` (checks dtypes and shapes, chooses
kernel, grid and shared memory). A kernel file is CUDA C++17 that three compilers read: NVRTC on the
user's machine, nvcc, and g++ for the emulator. So it

- includes `<cuda_fp16.h>` and `<cuda_bf16.h>` and, in quotes, other files of `kernels/` (never
  under an `#if`), and nothing else: no `<cstdint>`, no `<cuda_runtime.h>`, no cooperative groups.
  `ptx.cuh` has `uint8_t` and the like;
- reaches PTX only through the functions of `ptx.cuh`, which have a twin on the CPU;
- declares kernels as `extern "C" __global__ void name(...)` or as `template <...> __global__ void
  name(...)`. The launcher reads their parameters from the source: pointers, scalars by their plain
  C names, structs by value. No references, no default values;
- branches on `__CUDA_ARCH__` (750 ... 1200; the emulator says 900 by default), not on the emulator;
- names dynamic shared memory `extern __shared__ T name[];` inside a function.

A launcher asks the device for what it needs and launches it::

    module = device.module(KernelSource(KERNELS / "norm.cu", ("rms_norm_f32<256>",)))
    device.launch(module["rms_norm_f32<256>"], n_rows, 256, [x, w, y, n_embd, eps])

Arguments are Buffers (or None), ints, floats and bytes (structs); a wrong count, kind or width
raises DeviceError.
"""

from __future__ import annotations

from pathlib import Path

KERNELS = Path(__file__).parent / "kernels"
"""The folder of the kernel files."""
