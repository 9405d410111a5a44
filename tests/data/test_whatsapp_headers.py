"""How messages begin: forms of dates and clocks, several in one file, and lines that only look so."""  # noqa: E501

import os
from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from babel import Locale, localedata
from babel.dates import format_date, format_time
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Message
from elman.data.notes import Notes
from elman.data.readers import Reading, read
from elman.data.readers.whatsapp.clock import Clock
from elman.data.source import documents

DAY = Reading(gap=86_400.0)
BEFORE = "no date before them"
QUOTED = "kept with a line in them that looks like the beginning of another message"

Load = Callable[[str], tuple[list[Message], Notes]]


@pytest.mark.parametrize(
    "stamp",
    [
        "23:59, 31 Dec 2023 - ",
        "11:59 PM, 31 Dec 2023 - ",
        "11:59pm, Dec 31, 2023 - ",
        "31 Dec 2023, 23:59 - ",
        "Sunday, 31 December 2023, 23:59 - ",
        "31. Dezember 2023, 23:59 - ",
        "31 de dic. de 2023, 23:59 - ",
        "31 déc. 2023 à 23:59 - ",
        "31 дек. 2023 г., 23:59 - ",  # noqa: RUF001
        "31-Dec-2023, 23:59 - ",
        "2023-Dec-31 23:59 - ",
        "[23:59, 31/12/2023] ",
        "[11:59 CH, 31/12/2023] ",
        "31/12/23, 23:59: ",
        "31/12/23 11:59 PM: ",
        "31.12.2023 - 23:59; ",
        "[令和5年12月31日 23:59:00] ",
        "[令和5/12/31 23:59] ",
        "R5/12/31 23:59 - ",
        "[R5/12/31 午後11:59:00] ",
        "民國112/12/31 下午11:59 - ",
        "31. 12. 2023. 23:59 - ",
        "31.12.2023 г., 23:59 - ",  # noqa: RUF001
        "31.12.2023 г., 11:59 сл.об. - ",  # noqa: RUF001
        "31/12/2023 23 h 59 - ",
        "2023. 12. 31. 23:59 - ",
        "2023/12/31 晚上11:59 - ",
        "31/12/2023, 11:59 de la noche - ",
    ],
)
def test_forms_of_headers(load_whatsapp: Load, stamp: str) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n")
    at = datetime(2023, 12, 31, 23, 59)
    assert messages == [Message("Mira", "Hi", at), Message("Tobin", "Hello", at)]
    assert not notes.lines()


@pytest.mark.parametrize(
    ("clock", "hour"),
    [
        ("9:05 in the morning", 9),
        ("12:05 in the afternoon", 12),
        ("3:05 in the afternoon", 15),
        ("8:05 in the evening", 20),
        ("8:05 at night", 20),
        ("12:05 at night", 0),
        ("9.05 pagi", 9),
        ("3.05 sore", 15),
        ("8.05 malam", 20),
        ("9:05 vorm.", 9),
        ("3:05 nachm.", 15),
        ("8:05 abends", 20),
        ("9:05 сутринта", 9),
        ("3:05 следобед", 15),
        ("8:05 вечерта", 20),
        ("9:05 ਪੂ.ਦੁ.", 9),
        ("3:05 ਬਾ.ਦੁ.", 15),
        ("3:05 म.उ.", 15),
        ("3:05 pop.", 15),
        ("3:05\u202fp.\u00a0m.", 15),
        ("凌晨2:05", 2),
        ("清晨6:05", 6),
        ("中午12:05", 12),
        ("下午3:05", 15),
        ("晚上8:05", 20),
        ("午後0:05", 12),
        ("klo 3.05", 3),
        ("सकाळी 9:05", 9),
        ("दुपारी 3:05", 15),
        ("रात्री 8:05", 20),
        ("रात्री 12:05", 0),
        ("রাত ৮:০৫", 20),
        ("9:05 ng umaga", 9),
    ],
)
def test_words_beside_an_hour(clock: str, hour: int) -> None:
    reader = Clock()
    reader.learn({f", {clock}"})
    assert reader.read(f", {clock}") == timedelta(hours=hour, minutes=5)


def test_a_word_beside_13_is_no_half_of_the_day() -> None:
    reader = Clock()
    reader.learn({" u 3:05", " u 15:05"})
    assert reader.read(" u 3:05") == timedelta(hours=3, minutes=5)


UNREAD = {"blo", "gd"}
"""Anii writes a digit in its words; Gaelic's letters m and f mean other halves elsewhere."""


def test_every_language_of_cldr_reads_back() -> None:
    read, written = 0, set()
    for name in sorted(localedata.locale_identifiers()):
        locale = Locale.parse(name)
        if locale.language in UNREAD:
            continue
        for pattern in ("h:mm a", "a h:mm", "h:mm B", "B h:mm"):
            try:
                clocks = tuple(
                    f", {format_time(time(hour, 5), pattern, locale=locale)}" for hour in range(24)
                )
            except ValueError:  # Babel itself has no word for it
                continue
            if clocks in written:
                continue
            written.add(clocks)
            clock = Clock()
            clock.learn(set(clocks))
            for hour, text in enumerate(clocks):
                assert clock.read(text) == timedelta(hours=hour, minutes=5), (name, text)
                read += 1
    assert read > 10_000


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "ru", "pt", "it", "nl", "pl", "tr"])
def test_months_of_every_name(load_whatsapp: Load, language: str) -> None:
    days = [datetime(2023, month, 20, 10) for month in range(1, 13)]
    lines = [
        f"{format_date(day, 'd MMMM y', locale=language)}, 10:00 - {name}: Hi\n"
        for day in days
        for name in ("Mira", "Tobin")
    ]
    messages, _ = load_whatsapp("".join(lines))
    assert [message.time for message in messages[::2]] == days


def test_dates_without_a_year_end_before_the_file_was_written(
    load_whatsapp: Load, tmp_path: Path
) -> None:
    path = tmp_path / "talk"
    path.write_text(
        "30 Dec, 10:00 - Mira: Hi\n2 Jan, 10:00 - Tobin: Hello\n2 Jan, 10:01 - Mira: So\n"
    )
    os.utime(path, (1_704_900_000,) * 2)  # 10 January 2024
    notes = Notes()
    found = [m for each in read(documents(path), notes, Reading(gap=1e9)) for m in each.messages]
    assert [m.time for m in found] == [
        datetime(2023, 12, 30, 10), datetime(2024, 1, 2, 10), datetime(2024, 1, 2, 10, 1),
    ]  # fmt: skip
    [(reason, count)] = notes.changed.items()
    assert count == 3
    assert "year" in reason


FORMS = [
    "%d/%m/%Y, %H:%M - ",
    "%d.%m.%y, %H:%M - ",
    "%m/%d/%y, %I:%M %p - ",
    "[%Y-%m-%d, %H:%M:%S] ",
    "[%d.%m.%y, %H:%M:%S] ",
    "[%m/%d/%y, %I:%M:%S\u202f%p] ",
    "%H:%M, %d %b %Y - ",
    "%d/%m/%y, %H:%M:%S: ",
]


@given(
    forms=st.lists(st.sampled_from(FORMS), min_size=2, max_size=2, unique=True),
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=2),
    ends=st.lists(st.sampled_from(["\n", "\r\n"]), min_size=2, max_size=2),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_exports_of_two_phones_joined(
    load_whatsapp: Load, forms: list[str], counts: list[int], ends: list[str]
) -> None:
    if "[" in forms[1]:  # behind CRLF, an iPhone's LF is a line break inside a message
        ends[1] = ends[0]
    at = datetime(2023, 11, 25, 13)
    text, kept = "", []
    for form, count, end in zip(forms, counts, ends, strict=True):
        for number in range(count):
            at += timedelta(hours=5)
            author = ("Mira", "Tobin")[number % 2]
            kept.append(Message(author, f"line {number}", at))
            text += f"{at.strftime(form)}{author}: line {number}{end}"
    messages, notes = load_whatsapp(text)
    assert messages == kept
    assert not notes.lines()


def test_an_older_export_joined_behind_a_newer_one(load_whatsapp: Load) -> None:
    new = "".join(f"[14.03.25, 09:1{n}:11] {'Mira' if n % 2 else 'Tobin'}: new\n" for n in range(4))
    old = "".join(f"12.03.25, 18:0{n} - {'Mira' if n % 2 else 'Tobin'}: old\n" for n in range(4))
    messages, _ = load_whatsapp(new + old)
    assert [m.text for m in messages] == ["new"] * 4 + ["old"] * 4


def test_dates_of_this_year_follow_those_of_years_before(load_whatsapp: Load) -> None:
    messages, _ = load_whatsapp(
        "19:23, 28 Aug 2013 - Mira: Hi\n19:24, 28 Aug 2013 - Tobin: Hello\n"
        "08:02, 5 Jan - Mira: Back\n08:03, 5 Jan - Tobin: Good\n"
    )
    assert [m.time for m in messages[2:]] == [
        datetime(2014, 1, 5, 8, 2),
        datetime(2014, 1, 5, 8, 3),
    ]


def test_the_second_form_may_begin_anywhere(load_whatsapp: Load) -> None:
    many = "".join(f"12.03.25, 18:05 - {name}: {'x' * 99}\n" for name in ("Mira", "Tobin") * 2_000)
    messages, _ = load_whatsapp(
        f"{many}3/14/25, 9:10 PM - Mira: Hi\n3/14/25, 9:11 PM - Tobin: Hello\n"
    )
    assert [m.time for m in messages[-2:]] == [
        datetime(2025, 3, 14, 21, 10),
        datetime(2025, 3, 14, 21, 11),
    ]


@pytest.mark.parametrize(
    "stray", ["2605\n", "nd of a message\n", "\n\nPage 1\n", "7/23, 10:03 PM\n"]
)
def test_a_stray_first_line_is_counted(load_whatsapp: Load, stray: str) -> None:
    stamp = "11/21/19, 10:03 PM - "
    messages, notes = load_whatsapp(f"{stray}{stamp}Mira: Hi\n{stamp}Tobin: Hello\n")
    assert [m.text for m in messages] == ["Hi", "Hello"]
    assert notes.left_out == {BEFORE: 1}


@pytest.mark.parametrize(
    "quoted",
    [
        "[03/06/2020, 21:15:00] Ann: I am not coming",
        "3/6/20, 9:15 PM - Ann: I am not coming",
        "[3/6, 21:15] Ann: I am not coming",
        "03/06/2020, 21:15 Ann: I am not coming",
        "21:15, 3 Jun 2020 - Ann: I am not coming",
    ],
)
def test_what_looks_like_a_header_is_kept_and_counted(load_whatsapp: Load, quoted: str) -> None:
    stamp = "31.12.2023, 23:59 - "
    messages, notes = load_whatsapp(f"{stamp}Mira: She wrote:\n{quoted}\nand\n{stamp}Tobin: Oh\n")
    assert [m.text for m in messages] == [f"She wrote:\n{quoted}\nand", "Oh"]
    assert notes.changed == {QUOTED: 1}
    assert notes.first[QUOTED].endswith("talk: line 2")


def test_on_an_iphone_a_newline_alone_ends_no_message(load_whatsapp: Load) -> None:
    text = (
        "[04/06/2024, 10:00:00] Mira: Read this\r\n"
        "[04/06/2024, 10:01:00] Tobin: He wrote:\n[03/06/2024, 21:15:00] Ann: No\n"
        "[04/06/2024, 10:01:00] Ann: Sorry\r\n"
        "[04/06/2024, 10:02:00] Mira: Pity\r\n"
    )
    messages, notes = load_whatsapp(text)
    assert [m.author for m in messages] == ["Mira", "Tobin", "Mira"]
    assert messages[1].text.count("\n") == 2
    assert notes.changed == {QUOTED: 1}


def test_a_file_with_crlf_throughout_stays_what_it_is(load_whatsapp: Load) -> None:
    text = "[04/06/2024, 10:00:00] Mira: Hi\r\nthere\r\n[04/06/2024, 10:01:00] Tobin: Hello\r\n"
    messages, notes = load_whatsapp(text)
    assert [m.text for m in messages] == ["Hi\nthere", "Hello"]
    assert not notes.lines()


@pytest.mark.parametrize("stamp", ["30/12/2023, 9:01 - ", "[30.12.23, 9:01:58] "])
@pytest.mark.parametrize(
    "plan",
    ["31/12/2023, 10:00 - 11:00: the dentist", "31/12/2023, 10:00 dentist - bring: the card"],
)
def test_a_plan_begins_no_message(load_whatsapp: Load, stamp: str, plan: str) -> None:
    messages, _ = load_whatsapp(f"{stamp}Mira: plans\n{plan}\nfine?\n{stamp}Tobin: yes\n")
    assert [m.author for m in messages] == ["Mira", "Tobin"]
    assert messages[0].text == f"plans\n{plan}\nfine?"


def test_a_joined_export_may_have_an_unknown_word_after_its_clock(load_whatsapp: Load) -> None:
    first = "30/12/2023, 9:01 - Mira: Hi\n30/12/2023, 9:02 - Tobin: Hello\n"
    messages, _ = load_whatsapp(
        f"{first}\n\n[31.12.23, 9:03 xyz] Mira: a\n[31.12.23, 9:04 xyz] Tobin: b\n"
    )
    assert [m.text for m in messages] == ["Hi", "Hello", "a", "b"]


def test_dates_do_not_lie_in_the_future(load_whatsapp: Load) -> None:
    stamp = "23. 8. 28. PM 3:40 - "  # as in Korea
    messages, _ = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n")
    assert messages[0].time == datetime(2023, 8, 28, 15, 40)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("stamp", ["[31/12/2023, 23:59:58] ", "31/12/2023, 23:59 - "])
def test_ends_of_lines_change_nothing(load_whatsapp: Load, stamp: str, end: str) -> None:
    lines = [f"{stamp}Mira: one{end}two{end}{end}three", f"{stamp}Tobin: four", ""]
    messages, _ = load_whatsapp(end.join(lines))
    assert [m.text for m in messages] == ["one\ntwo\n\nthree", "four"]
