from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.readers.timestamps import timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
some = settings(max_examples=200, deadline=None, derandomize=True)


@given(st.integers(10**8, 10**10), st.sampled_from([1, 10**3, 10**6]), st.booleans())
@some
def test_counts_since_1970_are_read_whatever_their_unit(
    seconds: int, units: int, as_text: bool
) -> None:
    value = seconds * units
    assert timestamp(str(value) if as_text else value) == EPOCH + timedelta(seconds=seconds)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-1439, 1439))
@some
def test_iso_is_read_in_any_zone(time: datetime, minutes: int) -> None:
    assert timestamp(time.isoformat()) == time
    there = time.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = timestamp(there.isoformat())
    assert found == there
    assert found is not None
    assert found.tzinfo is UTC
    kept = timestamp(there.isoformat(), in_utc=False)
    assert kept is not None
    assert kept.utcoffset() == there.utcoffset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), ("0", 0), (12.5, 12.5), ("1688540000.000100", 1688540000.0001), (-5, -5)],
)
def test_small_and_broken_counts_are_seconds(value: Any, seconds: float) -> None:
    assert timestamp(value) == EPOCH + timedelta(seconds=seconds)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=12) | st.floats() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=3,
    )
)
@some
def test_any_value_is_a_time_or_none(value: Any) -> None:
    found = timestamp(value)
    assert found is None or isinstance(found, datetime)
    if isinstance(value, bool | list | dict | None):
        assert found is None


@pytest.mark.parametrize(
    "value",
    [10**18, "9" * 30, "1e999", float("nan"), float("inf"), "soon", "", "\u0661", "2023-02-30"],
)
def test_what_is_no_time(value: Any) -> None:
    assert timestamp(value) is None
