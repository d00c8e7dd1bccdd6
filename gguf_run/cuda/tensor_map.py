"""Tables of rows in device memory as Hopper's copy engine takes them: CUtensorMap of the driver."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

from gguf_run.cuda.buffer import Buffer
from gguf_run.errors import DeviceError

N_BYTES = 128
"""Of a description, which is an argument by value."""
_FLOAT16, _SWIZZLE_128, _L2_PROMOTION_256 = 6, 3, 3
"""CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion."""


@dataclass(frozen=True, slots=True)
class TensorMap:
    """`n_row` rows of `n_column` f16 numbers, `row_bytes` apart, of which boxes of 64 columns and
    `box_rows` rows are copied, swizzled by 128 bytes.

    Address and `row_bytes` are multiples of 16.
    """

    buffer: Buffer
    n_row: int
    n_column: int
    row_bytes: int
    box_rows: int

    def encoded(self) -> bytes:
        """The description; DeviceError where the driver refuses it."""
        space = ctypes.create_string_buffer(N_BYTES + 64)
        start = -ctypes.addressof(space) % 64  # its alignment
        failed = _encoder()(
            ctypes.c_void_p(ctypes.addressof(space) + start),
            _FLOAT16,
            2,
            ctypes.c_void_p(self.buffer.ptr),
            (ctypes.c_uint64 * 2)(self.n_column, self.n_row),
            (ctypes.c_uint64 * 1)(self.row_bytes),
            (ctypes.c_uint32 * 2)(64, self.box_rows),
            (ctypes.c_uint32 * 2)(1, 1),
            0,
            _SWIZZLE_128,
            _L2_PROMOTION_256,
            0,
        )
        if failed:
            raise DeviceError(f"the driver can't describe {self}: error {failed}")
        return space.raw[start : start + N_BYTES]


@functools.cache
def _encoder() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1").cuTensorMapEncodeTiled
    except (OSError, AttributeError) as error:
        raise DeviceError(
            f"the NVIDIA driver can't describe tensors: {error}; expected one for CUDA 12 or later"
        ) from error
