from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.readers.dates import Dates


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("10/6/2023 12:37 AM", datetime(2023, 10, 6, 0, 37)),
        ("06/10/2023 12:37", datetime(2023, 10, 6, 12, 37)),
        ("06/10/2023 12:37 p. m.", datetime(2023, 10, 6, 12, 37)),
        ("06.10.2023 12.37", datetime(2023, 10, 6, 12, 37)),
        ("6.10.2023 \u0433. 2:37:05", datetime(2023, 10, 6, 2, 37, 5)),
        ("05-Oct-18 12:08 PM", datetime(2018, 10, 5, 12, 8)),
        ("05-oct-18 12:08 am", datetime(2018, 10, 5, 0, 8)),
        ("2023-10-06 오후 12:37", datetime(2023, 10, 6, 12, 37)),
        ("2023/10/6 上午 12:37", datetime(2023, 10, 6, 0, 37)),
        ("2023. 10. 06. 12:37", datetime(2023, 10, 6, 12, 37)),
        ("6/10/23 1:37\u202fPM", datetime(2023, 6, 10, 13, 37)),
        ("May 17, 2022  5:29:42 PM", datetime(2022, 5, 17, 17, 29, 42)),
        ("Friday, 5 October 2018 12:08", datetime(2018, 10, 5, 12, 8)),
        ("2018/10/05 12:08:33.123 +02:00", datetime(2018, 10, 5, 12, 8, 33)),
        ("2018-10-05T12:08:33+02:00", datetime(2018, 10, 5, 10, 8, 33, tzinfo=UTC)),
        ("1696552620", datetime(2023, 10, 6, 0, 37, tzinfo=UTC)),
        ("06/10/2566 12:37", datetime(2023, 10, 6, 12, 37)),
        (
            "\u0661\u0662/\u0661\u0660/\u0662\u0660\u0662\u0663 \u0661:\u0663\u0667 \u0645",
            datetime(2023, 10, 12, 13, 37),
        ),
    ],
)
def test_forms(text: str, time: datetime) -> None:
    assert Dates([text]).time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "13:00",
        "1 2 3 4",
        "2023-10-06",
        "2023-10-06 24:37",
        "31/31/2023 1:00",
        "9" * 500,
        "0001-01-01T00:00:00+14:00",
        "1/2/3 1:99",
        "10/6/2023 99:37 AM",
        "\u00b2/1/2023 1:00",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert Dates([text]).time(text) is None


def test_the_whole_file_says_which_number_is_the_month() -> None:
    one, other = "6/10/23 1:00 PM", "06/10/2023 13:00"
    assert Dates([one, "13/10/23 1:00 PM"]).time(one) == datetime(2023, 10, 6, 13)
    assert Dates([other, "06/13/2023 13:00"]).time(other) == datetime(2023, 6, 10, 13)
    running = ["01.02.2023 1:00", "02.02.2023 1:00", "01.03.2023 1:00"]
    assert Dates(running).time("01.02.2023 1:00") == datetime(2023, 2, 1, 1)
    american = ["02-01-2023 1:00", "02-02-2023 1:00", "03-01-2023 1:00"]
    assert Dates(american).time("03-01-2023 1:00") == datetime(2023, 3, 1, 1)
    assert Dates(american[::-1]).time("03-01-2023 1:00") == datetime(2023, 3, 1, 1)


FORMS = [
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%d.%m.%y %H.%M",
    "%Y-%m-%d %H:%M",
    "%d-%b-%y %I:%M %p",
]


@given(
    st.lists(st.datetimes(datetime(2001, 1, 1), datetime(2089, 1, 1)), min_size=1),
    st.sampled_from(FORMS),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_dates_that_were_written_come_back(times: list[datetime], form: str) -> None:
    times = sorted(time.replace(second=0, microsecond=0) for time in times)
    # A day above 12 settles what a few dates leave open.
    times.append(datetime(2089, 12, 31, 23, 59))
    texts = [time.strftime(form) for time in times]
    dates = Dates(texts)
    assert [dates.time(text) for text in texts] == times


@given(st.text(st.sampled_from("0123456789/.:- TAPM年,+"), max_size=70))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert Dates([text]).time(text) is None or any(letter.isdigit() for letter in text)
