"""The generator's outputs against the C++ standard's figures."""

from __future__ import annotations

import numpy as np

from gguf_run.sampling.rng import Mt19937


def test_the_ten_thousandth_output_is_what_the_cpp_standard_says() -> None:
    rng = Mt19937(5489)  # std::mt19937's default seed; [rand.predef] names this output
    assert [rng.raw() for _ in range(10_000)][-1] == 4_123_659_995


def test_a_double_is_made_of_two_outputs_low_word_first() -> None:
    rng, same = Mt19937(42), Mt19937(42)
    low, high = same.raw(), same.raw()
    assert rng.uniform_double() == 0.7965429842878460 == (low + high * 2.0**32) / 2.0**64


def test_a_float_is_made_of_one_output() -> None:
    rng = Mt19937(42)
    assert rng.uniform_float() == np.float32(1_608_637_542 / 2**32)
    assert rng.raw() == 3_421_126_067


def test_a_clone_gives_the_same_outputs_on_its_own() -> None:
    rng = Mt19937(7)
    rng.raw()
    twin = rng.clone()
    ahead = [twin.raw() for _ in range(700)]
    assert [rng.raw() for _ in range(700)] == ahead


def test_seeds_up_to_32_bits_differ() -> None:
    assert len({Mt19937(seed).raw() for seed in (0, 1, 2**31, 2**32 - 1)}) == 4
