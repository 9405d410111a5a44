import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers import Reading, read
from elman.data.readers.registry import READERS, find_reader

MEDIA = "a photo, voice message or other media without text"
DELETED = "deleted by its author"
SYSTEM_LINE = "a system line"
CAPTION = "what stands for their photo or other media taken out"
EDITED = "what says that they were edited taken out"
DAY = Reading(gap=86_400.0)

Load = Callable[[str], tuple[list[Message], Notes]]


@pytest.mark.parametrize(
    "stamp",
    [
        "[31/12/2023, 23:59:58] ",
        "\u200e[31/12/2023, 11:59:58\u202fPM] ",
        "[31.12.23, 23:59:58] ",
        "[31.12.2023 klo 23.59.58] ",
        "[31/12/2023 à 23:59:58] ",
        "[31-12-23 23:59:58] ",
        "[2023-12-31, 23:59:58] ",
        "[2023. 12. 31. 오후 11:59:58] ",
        "[2023/12/31 下午11:59:58] ",
        "[2023/12/31 23:59:58] ",
        "[2023年12月31日 23:59:58] ",
        "\u200f[٣١\u200f/١٢\u200f/٢٠٢٣، ١١:٥٩:٥٨ م] ",  # noqa: RUF001
        '[31.12.2023, 11:59:58 אחה"צ] ',
        "[31/12/2566 23:59:58] ",
        "[31/12/23, 11:59:58 p. m.] ",
        "[31/12/2023, 11:59:58\u00a0p.\u00a0m.] ",
    ],
)
def test_stamps_of_iphones(load_whatsapp: Load, stamp: str) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n")
    at = datetime(2023, 12, 31, 23, 59, 58)
    assert messages == [Message("Mira", "Hi", at), Message("Tobin", "Hello", at)]
    assert not notes.lines()


@pytest.mark.parametrize(
    "stamp",
    [
        "31/12/2023, 23:59 - ",
        "31/12/23 23:59 - ",
        "12/31/23, 11:59 PM - ",
        "12/31/23, 11:59\u202fPM - ",
        "31.12.23, 23:59 - ",
        "31.12.2023 23.59 - ",
        "2023-12-31, 23:59 - ",
        "2023-12-31 23:59 – ",  # noqa: RUF001
        "31/12/2023 à 23:59 - ",
        "31/12/2023, 11:59 p. m. - ",
        "31/12/2023 11:59 p.\u00a0m. - ",
        "31/12/23, 11:59 μ.μ. - ",
        "31/12/2023, 11:59 pm - ",
        "31/12/23, 11:59 अपराह्न - ",
        "३१/१२/२३, ११:५९ अपराह्न - ",
        "৩১/১২/২৩, ১১:৫৯ অপরাহ্ণ - ",
        "31/12/23, 11:59 CH - ",
        "2023. 12. 31. 오후 11:59 - ",
        "2023/12/31 午後11:59 - ",
        "2023/12/31 23:59 - ",
        "۲۰۲۳/۱۲/۳۱،\u200f ۲۳:۵۹ - ",
        "۱۴۰۲/۱۰/۱۱،\u200f ۱۱:۵۹ ب.ظ. - ",  # noqa: RUF001
    ],
)
def test_stamps_of_android(load_whatsapp: Load, stamp: str) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n")
    at = datetime(2023, 12, 31, 23, 59)
    if "۱۴۰۲" in stamp:  # the first of January in Persian years, which are right to a day
        at += timedelta(days=1)
    assert messages == [Message("Mira", "Hi", at), Message("Tobin", "Hello", at)]
    assert not notes.lines()


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        pytest.param(["02/03/2023", "03/03/2023", "13/03/2023"], (2023, 3, 2), id="a 13th day"),
        pytest.param(["02/03/2023", "02/04/2023", "02/13/2023"], (2023, 2, 3), id="a 13th second"),
        pytest.param(["02/03/2023", "01/04/2023"], (2023, 3, 2), id="days first, in order"),
        pytest.param(["03/02/2023", "04/01/2023"], (2023, 3, 2), id="months first, in order"),
        pytest.param(["23/03/02", "23/03/03", "24/01/01"], (2023, 3, 2), id="years first"),
        pytest.param(["02/03/2023"], (2023, 3, 2), id="nothing says: days first"),
        pytest.param(["02/03/23"], (2023, 3, 2), id="nor here"),
        pytest.param(["2023-03-02"], (2023, 3, 2), id="four digits in front"),
    ],
)
def test_the_whole_file_says_how_its_dates_are_meant(
    load_whatsapp: Load, dates: list[str], first: tuple[int, int, int]
) -> None:
    lines = [f"{date}, 10:00 - {name}: Hi\n" for date in dates for name in ("Mira", "Tobin")]
    messages, _ = load_whatsapp("".join(lines))
    assert len(messages) == len(lines)
    assert messages[0].time == datetime(*first, 10)


def test_a_late_date_decides_about_an_early_one(load_whatsapp: Load) -> None:
    many = "".join(f"3/4/23, 10:00 - {name}: {'x' * 99}\n" for name in ("Mira", "Tobin") * 12_000)
    messages, _ = load_whatsapp(f"{many}4/13/23, 10:00 - Mira: Hi\n")
    assert len(many) > 1 << 21
    assert messages[0].time == datetime(2023, 3, 4, 10)


def test_in_america_months_come_first(load_whatsapp: Load) -> None:
    messages, _ = load_whatsapp("2/3/23, 10:00 PM - Mira: Hi\n2/3/23, 12:00 AM - Tobin: Hello\n")
    assert [m.time for m in messages] == [datetime(2023, 2, 3, 22), datetime(2023, 2, 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<Media omitted>", MEDIA),
        ("<Multimedia omitido>", MEDIA),
        ("<Mídia oculta>", MEDIA),
        ("<Médias omis>", MEDIA),
        ("<Без медиафайлов>", MEDIA),
        ("<मीडिया के बिना>", MEDIA),
        ("<メディアなし>", MEDIA),
        ("<미디어 파일을 생략한 대화내용>", MEDIA),
        ("image omitted", MEDIA),
        ("IMG-20231231-WA0001.jpg (arquivo anexado)", MEDIA),
        ("PTT-20231231-WA0001.opus (in some other words)", MEDIA),
        ("Ann Lee.vcf (file attached)", MEDIA),
        ("null", MEDIA),
        ("", MEDIA),
        ("This message was deleted", DELETED),
        ("Se eliminó este mensaje.", DELETED),
        ("このメッセージは削除されました。", DELETED),
        ("تم حذف هذه الرسالة", DELETED),
        ("Waiting for this message", SYSTEM_LINE),
    ],
)
def test_what_is_no_text_on_android(load_whatsapp: Load, text: str, reason: str) -> None:
    lines = ["Mira: Hi", "Tobin: Hello", f"Mira: {text}"]
    messages, notes = load_whatsapp("".join(f"31/12/2023, 23:59 - {line}\n" for line in lines))
    assert [m.text for m in messages] == ["Hi", "Hello"]
    assert notes.left_out == {reason: 1}
    assert notes.first[reason].endswith("talk: line 3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\u200eimage omitted", MEDIA),
        ("\u200evidéo absente", MEDIA),
        ("\u200e<adjunto: 00000012-AUDIO-2023-12-31-23-59-58.opus>", MEDIA),
        ("\u200e画像は含まれていません", MEDIA),
        ("\u200f<تم استبعاد الوسائط>", MEDIA),
        ("\u200eDit bericht is verwijderd.", DELETED),
        ("\u200eMissed video call", SYSTEM_LINE),
        ("\u200eSomething in a language that nobody foresaw", SYSTEM_LINE),
    ],
)
def test_what_is_no_text_on_an_iphone(load_whatsapp: Load, text: str, reason: str) -> None:
    lines = ["Mira: Hi", "Tobin: Hello", f"Mira: {text}"]
    messages, notes = load_whatsapp("".join(f"[31/12/2023, 23:59:58] {line}\r\n" for line in lines))
    assert [m.text for m in messages] == ["Hi", "Hello"]
    assert notes.left_out == {reason: 1}


@pytest.mark.parametrize(
    "text",
    [
        "<3",
        "I <3 you (and tea) >",
        "(file attached)",
        "read report.pdf (page 3)",
        "This message was deleted by mistake",
        "Media omitted, she said",
        "5 < 6 and 7 > 6",
        "https://tea.example/?a=<b>",
        "null and void",
        "the edit: <b>",
        "31/12/2023, 23:59",
        "שלום\u200f (כן)",
    ],
)
@pytest.mark.parametrize("stamp", ["31/12/2023, 23:59 - ", "[31/12/2023, 23:59:58] "])
def test_what_people_write_is_kept(load_whatsapp: Load, text: str, stamp: str) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: {text}\n{stamp}Tobin: Hello\n")
    assert messages[0].text == text
    assert not notes.lines()


@pytest.mark.parametrize(
    ("text", "kept", "change"),
    [
        ("<Media omitted>\nLook (here)", "Look (here)", CAPTION),
        ("IMG-20231231-WA0001.jpg (file attached)\nLook\nhere", "Look\nhere", CAPTION),
        ("Hi <This message was edited>", "Hi", EDITED),
        ("Hola <Se editó este mensaje.>", "Hola", EDITED),
        ("Привет <Сообщение изменено>", "Привет", EDITED),
    ],
)
def test_what_is_taken_out_is_counted(
    load_whatsapp: Load, text: str, kept: str, change: str
) -> None:
    messages, notes = load_whatsapp(
        f"31/12/2023, 23:59 - Mira: {text}\n31/12/2023, 23:59 - Tobin: Hello\n"
    )
    assert messages[0].text == kept
    assert (notes.changed, notes.left_out) == ({change: 1}, {})


def test_lines_before_the_first_message_are_counted(load_whatsapp: Load) -> None:
    stamp = "31/12/2023, 23:59 - "
    messages, notes = load_whatsapp(f"\n\n{stamp}Mira: Hi\n{stamp}left: right\n{stamp}gone\n")
    assert [m.author for m in messages] == ["Mira", "left"]
    assert notes.left_out == {SYSTEM_LINE: 1}
    assert notes.first[SYSTEM_LINE].endswith("talk: line 5")


def test_lines_are_counted_to_the_end_of_a_large_file(load_whatsapp: Load) -> None:
    stamp = "31/12/2023, 23:59 - "
    many = "".join(f"{stamp}{name}: {'x' * 99}\r\nand\r\n" for name in ("Mira", "Tobin") * 2_000)
    messages, notes = load_whatsapp(f"{many}{stamp}gone\n{stamp}Mira: <Media omitted>\n")
    assert {m.text for m in messages} == {f"{'x' * 99}\nand"}
    assert len(messages) == 4_000
    assert notes.first[SYSTEM_LINE].endswith("talk: line 8001")
    assert notes.first[MEDIA].endswith("talk: line 8002")


@pytest.mark.parametrize(
    ("name", "chat"),
    [
        ("exports/WhatsApp Chat with Mira.txt", "WhatsApp Chat with Mira"),
        ("exports/WhatsApp Chat - Dr. Mira.zip/_chat.txt", "WhatsApp Chat - Dr. Mira"),
        ("_chat.txt", "_chat.txt"),
    ],
)
def test_a_chat_is_called_as_its_file(tmp_path: Path, name: str, chat: str) -> None:
    path = tmp_path / "talk"
    path.write_text("[31/12/2023, 23:59:58] Mira: Hi\n[31/12/2023, 23:59:58] Tobin: Hello\n")
    [conversation] = read([Document(name, path)], reading=DAY)
    assert conversation.id == f"{chat.removesuffix('.txt')} 2023-12-31 23:59:58"


@pytest.mark.parametrize(
    "text",
    [
        "[31/12/2023, 23:59:58]\nMira: Hi\n",
        "[31/31/2023, 23:59:58] Mira: Hi\n",
        "31/12/2023, 25:59 - Mira: Hi\n",
        "31/12/2023, 23:59 Mira: Hi\n",
        "2023-12-31 23:59:58,123 - INFO: ready\n",
        "2023-12-31 23:59:58: INFO: ready\n2023-12-31 23:59:59: WARNING: hot\n",
        "2023-12-31 23:59:58 - ERROR: broken\n2023-12-31 23:59:59 - INFO: mended\n",
        "[2023-12-31 23:59:58] app.INFO: ready\n[2023-12-31 23:59:59] app.DEBUG: idle\n",
        "31/12/2023, 23:59 - nobody says anything\n",
        "[12/31/2023 11:59 PM] mira\nHi: there\n",
        "Mira: 31/12/2023, 23:59 - Tobin: Hi\n",
    ],
)
def test_what_only_looks_like_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "talk"
    path.write_text(text)
    assert find_reader(Document("talk", path)) is not READERS["whatsapp"]


def test_a_line_that_was_quoted_belongs_to_the_message(load_whatsapp: Load) -> None:
    stamp = "31/12/2023, 23:59 - "
    quoted = "31/31/2023, 23:59 - Ann: lost"
    text = f"{stamp}Mira: Look:\n{quoted}\n{quoted}\nso\n{stamp}Tobin: Oh\n{quoted}\n"
    messages, _ = load_whatsapp(text)
    assert [m.text for m in messages] == [f"Look:\n{quoted}\n{quoted}\nso", f"Oh\n{quoted}"]


def test_a_message_may_be_longer_than_what_is_read_at_once(load_whatsapp: Load) -> None:
    stamp = "31/12/2023, 23:59 - "
    long = "\n".join(["a line of the poem"] * 200_000)
    messages, notes = load_whatsapp(f"{stamp}Mira: {long}\n{stamp}Tobin: Hello\n{stamp}gone")
    assert [(m.author, len(m.text)) for m in messages] == [("Mira", 20_000), ("Tobin", 5)]
    assert sum(notes.changed.values()) == 1
    assert notes.left_out == {SYSTEM_LINE: 1}


names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters='~"“”„«»「」:'), min_size=1
).map(lambda name: name[:20])
texts = st.lists(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=40),
    min_size=1,
    max_size=3,
).map("\n".join)
plain = texts.filter(
    lambda text: text.strip() and text != "null" and not re.search(r"[<>(\[]|\d[./-]", text)
)
others = st.sampled_from(
    [
        ("{a}: This message was deleted", DELETED),
        ("{a}: <Media omitted>", MEDIA),
        ("{a}: IMG-20231231-WA0001.jpg (file attached)", MEDIA),
        ("{a} left", SYSTEM_LINE),
        ("{a} changed the group name from “x: y” to “z: y", SYSTEM_LINE),
    ]
)
formats = st.sampled_from(
    [
        "%d/%m/%Y, %H:%M - ",
        "%d.%m.%y, %H:%M - ",
        "%m/%d/%y, %I:%M\u202fPM - ",
        "[%Y-%m-%d, %H:%M:%S] ",
    ]
)


@given(
    pair=st.lists(names, min_size=2, max_size=2, unique=True),
    said=st.lists(st.one_of(plain, others), min_size=1, max_size=20),
    form=formats,
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(
    load_whatsapp: Load, pair: list[str], said: list[str | tuple[str, str]], form: str, end: str
) -> None:
    time = datetime(2023, 11, 25, 13, 0)
    kept, left = [], []
    lines = []
    for at, what in enumerate(["Hi", "Hello", *said]):
        author, time = pair[at % 2], time + timedelta(minutes=1, days=at % 3)
        time = time.replace(hour=13)
        if isinstance(what, str):
            kept.append((author, what, time))
            what = f"{author}: {what}"
        else:
            left.append(what[1])
            what = what[0].format(a=author)
        lines.append(time.strftime(form) + what.replace("\n", end) + end)
    messages, notes = load_whatsapp("".join(lines))
    assert messages == kept
    assert notes.left_out.total() == len(left)
    assert notes.left_out == {reason: left.count(reason) for reason in left}
    assert not notes.changed
