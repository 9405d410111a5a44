from itertools import pairwise

import pytest

from elman.data.expectation import LEVELS, MEASURED, basis, bits_for, hope, human


def test_more_text_is_never_expected_to_be_worse() -> None:
    sizes = [10**power * factor for power in range(2, 10) for factor in (1, 2, 5)]
    assert all(one >= other for one, other in pairwise(map(bits_for, sizes)))
    assert bits_for(1) == MEASURED[0][1]
    assert bits_for(10**9) == MEASURED[-1][1]


@pytest.mark.parametrize(("size", "bits"), MEASURED)
def test_what_was_measured_is_expected(size: int, bits: float) -> None:
    assert bits_for(size) == pytest.approx(bits)


def test_between_sizes_the_logarithm_is_blended() -> None:
    (low, more), (high, less) = MEASURED[:2]
    middle = round((low * high) ** 0.5)
    assert bits_for(middle) == pytest.approx((more + less) / 2, abs=1e-3)


def test_it_is_said_in_a_sentence() -> None:
    assert hope("Ann", 312, 18_000) == "Ann: 312 messages, 18 KB: a bot will echo phrases"
    assert hope("Bo", 1, 999).startswith("Bo: 1 message, 999 bytes")
    assert hope("Ann", 10**6, LEVELS[-2][0]).endswith("will hold small talk")
    assert f"{bits_for(40_000):.1f} bits per byte" in basis(40_000)
    assert [human(size) for size in (7, 1_000, 1_499_999)] == ["7 bytes", "1 KB", "1.5 MB"]
