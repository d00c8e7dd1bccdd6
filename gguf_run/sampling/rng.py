"""std::mt19937 and the two ways a C++ program draws a uniform number from it.

Source: M. Matsumoto, T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998); the seeding is the
reference code's `init_genrand`, which both std::mt19937 and NumPy's legacy seeding use. How a
draw is made of the 32-bit outputs is libstdc++'s `std::generate_canonical`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TWO_32 = 2.0**32


class Mt19937:
    """The generator that std::mt19937(seed) is; seed is an unsigned 32-bit number."""

    __slots__ = ("_bits",)

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937(0)
        # RandomState seeds the generator it was given in place, by `init_genrand`.
        np.random.RandomState(self._bits).seed(seed)

    def raw(self) -> int:
        """The next 32-bit output."""
        return int(self._bits.random_raw())

    def uniform_double(self) -> float:
        """std::uniform_real_distribution<double>(0, 1): two outputs, the low word first."""
        low = self.raw()
        u = (low + self.raw() * _TWO_32) / (_TWO_32 * _TWO_32)
        return min(u, float(np.nextafter(1.0, 0.0)))

    def uniform_float(self) -> np.float32:
        """std::uniform_real_distribution<float>(0, 1): one output."""
        u = np.float32(self.raw()) / np.float32(_TWO_32)
        return min(u, np.nextafter(np.float32(1), np.float32(0)))

    def raw_pairs(self, n: int) -> NDArray[np.uint32]:
        """The outputs of the next n `uniform_double`s, uint32 (n, 2)."""
        return self._bits.random_raw(2 * n).astype(np.uint32).reshape(n, 2)

    def clone(self) -> Mt19937:
        """A generator that will give the same outputs."""
        twin = Mt19937(0)
        twin._bits.state = self._bits.state
        return twin
