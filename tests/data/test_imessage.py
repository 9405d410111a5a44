from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Message
from elman.data.notes import Notes
from elman.data.readers.imessage import READER

Load = Callable[[str], tuple[list[Message], Notes]]
NOON = "May 17, 2022 12:00:00 PM"


@pytest.fixture(scope="session")
def load(load_chat: Callable[..., tuple[list[Message], Notes]]) -> Load:
    return lambda text: load_chat(text, "imessage", "talk", "talk.txt")


def message(text: str, who: str = "Mira", time: str = NOON) -> str:
    return f"{time}\n{who}\n{text}\n\n"


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (f"{NOON}\nMe\nHi\n", True),
        (f"\ufeff\n{NOON} (Read by you after 3 seconds)\r\nMe\r\nHi\r\n", True),
        (f"{NOON} You left the conversation.\n\n{NOON}\nMe\nHi\n", True),
        (f"Unable to format announcement!\n\n{NOON}\nMe\nHi\n", True),
        ("17 May 2022, 12:00\nMe\nHi\n", True),
        ("2022-05-17 12:00:00\nMe\nHi\n", True),
        (f"{NOON} You left the conversation.\n", False),
        (f"{NOON}\n\nMe\n", False),
        (f"Hi\n{NOON}\nMe\nHi\n", False),
        (f"{NOON}: Me\nHi\n", False),
        ("", False),
    ],
)
def test_exports_are_known(head: str, known: bool) -> None:
    assert READER.matches(head) == known


@pytest.mark.parametrize(
    ("time", "wanted"),
    [
        (NOON, datetime(2022, 5, 17, 12)),
        ("May 17, 2022  5:29:42 AM (Read by Mira after 1 hour, 49 seconds)", (5, 29, 42)),
        ("Jan 02, 2023 12:34:56 AM", datetime(2023, 1, 2, 0, 34, 56)),
        ("May 17, 2022  5:29:42\u202fPM", datetime(2022, 5, 17, 17, 29, 42)),
        ("17 May 2022 17:29:42", datetime(2022, 5, 17, 17, 29, 42)),
        ("2022-05-17 17:29", datetime(2022, 5, 17, 17, 29)),
        ("17.05.2022, 17:29:42", datetime(2022, 5, 17, 17, 29, 42)),
    ],
)
def test_times(load: Load, time: str, wanted: datetime | tuple[int, int, int]) -> None:
    [found], notes = load(message("Hi", time=time))
    if isinstance(wanted, tuple):
        wanted = datetime(2022, 5, 17, *wanted)
    assert found == Message("Mira", "Hi", wanted)
    assert not notes.lines()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hi", "Hi"),
        ("two\n\nparagraphs", "two\n\nparagraphs"),
        ("Hi\nTapbacks:\n    Loved by Me\n    \u2615 by Bo", "Hi"),
        ("Hi\nTapbacks:\n    Loved by Me\nI drop by later", "Hi\nI drop by later"),
        ("Hi\nReactions:\nLoved by Me\nEmphasized by Bo\n", "Hi"),
        ("Hi\nTapbacks:\n    Sticker from Bo not found!", "Hi"),
        ("Hi\nSent with Confetti", "Hi"),
        ("Sent with love", "Sent with love"),
        ("Hi\nThis message responded to an earlier message.", "Hi"),
        (f"{NOON} Hu\nEdited 30 seconds later: Hi", "Hi"),
        (f"{NOON} Hu\nho\nEdited  later: He\nEdited 1 minute, 2 seconds later: Hi\nho", "Hi\nho"),
        (f"First\n{NOON} Hu\nEdited 3 seconds later: Hi", "First\nHi"),
        (f"{NOON} works for me", f"{NOON} works for me"),
        ("Edited 3 seconds later: no", "Edited 3 seconds later: no"),
        ("Hola\nTranslated from:\nHi", "Hi"),
        ("attachments/1/2.jpeg\nHi", "Hi"),
        ("a/b/c/d.pdf\nHi", "Hi"),
        ("Hi\n~/Library/Messages/Attachments/1/A b.HEIC", "Hi"),
        ("/Users/a/Library/Application Support/MobileSync/Backup/1/33/33c8\nHi", "Hi"),
        ("C:\\chats\\attachments\\1\\2.jpeg\nHi", "Hi"),
        ("Audio Message.caf\nHi", "Audio Message.caf\nHi"),
        ("attachments/1/2.caf\nTranscription: Hi", "Hi"),
        ("Hi\nAttachment missing!", "Hi"),
        ("Hi \ufffc", "Hi"),
        ("Hi\nMira unsent this message part 3 seconds after sending!", "Hi"),
        ("https://tea.example/a/b/c.png", "https://tea.example/a/b/c.png"),
        ("on 1/2 and/or 3/4", "on 1/2 and/or 3/4"),
        ("\ufffc", None),
        ("IMG_1.HEIC", None),
        ("Outline Sticker from Me: a/b.heic (App: Free)", None),
        ("Unable to format app message: no payload", None),
        ("You unsent a message!", None),
        ("They deleted a message.", None),
        ("This message was deleted from the conversation!\nHi", None),
        ("SharePlay Message\nEnded", None),
        ("Stopped sharing location!", None),
        ("", None),
        ("Tapbacks:\n    Loved by Me", None),
    ],
)
def test_what_stands_below_a_name(load: Load, text: str, kept: str | None) -> None:
    found, notes = load(message(text) + message("Yes", "Me"))
    assert [(m.author, m.text) for m in found] == [("Mira", kept)] * (kept is not None) + [
        ("Me", "Yes")
    ]
    assert notes.left_out.total() == (kept is None)
    if kept is not None:
        # A picture's place in a text is no part of it; all else that is taken out is counted.
        assert bool(notes.changed) == (text.replace("\ufffc", "").strip() != kept)
    assert set(notes.first.values()) <= {"talk.txt: line 1"}


ANSWER = f"    {NOON}\n    Me\n    Yes\n    Tapbacks:\n        Loved by Mira\n\n"


def test_an_answer_that_is_shown_twice_is_read_once(load: Load) -> None:
    asked = f"{NOON}\nMira\nTea?\n{ANSWER}Or coffee?\n\n"
    found, notes = load(asked + message("Bye", "Bo") + message("Yes", "Me"))
    assert [(m.author, m.text) for m in found] == [
        ("Mira", "Tea?\nOr coffee?"),
        ("Bo", "Bye"),
        ("Me", "Yes"),
    ]
    assert not notes.left_out


def test_an_answer_without_a_place_of_its_own_is_not_lost(load: Load) -> None:
    found, _ = load(f"{NOON}\nMira\nTea?\n{ANSWER}Or coffee?\n\n{message('Bye', 'Bo')}")
    assert [(m.author, m.text) for m in found] == [
        ("Mira", "Tea?\nOr coffee?"),
        ("Me", "Yes"),
        ("Bo", "Bye"),
    ]


def test_old_answers_are_indented_in_their_first_line_alone(load: Load) -> None:
    found, _ = load(f"{NOON}\nMira\nTea?\n    {NOON}\n    Me\n    Yes\nplease\n\nOr coffee?\n\n")
    assert [m.text for m in found] == ["Tea?\nOr coffee?", "Yes\nplease"]


def test_what_happened_to_the_chat_is_counted(load: Load) -> None:
    found, notes = load(
        message("Hi")
        + f"{NOON} You named the conversation Tea\n\n"
        + "Unable to format announcement!\n\nstray\n\n"
        + message("Hello", "Me")
    )
    assert [m.text for m in found] == ["Hi", "Hello"]
    assert notes.left_out == {"a system line": 2, "no time and name before them": 1}


letters = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp", "Nd"], exclude_characters="/.\ufffc"
)
texts = st.lists(st.text(letters), min_size=1).map("\n".join)
times = st.datetimes(datetime(2001, 1, 1), datetime(2068, 1, 1)).map(
    lambda time: time.replace(microsecond=0)
)


@given(st.lists(st.tuples(st.sampled_from(["Me", "+49 170", "a@b.example"]), texts, times)))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(load: Load, said: list[tuple[str, str, datetime]]) -> None:
    said = [("Mira", "Hi", datetime(2022, 1, 1)), *said]
    text = "".join(message(what, who, f"{time:%b %d, %Y %I:%M:%S %p}") for who, what, time in said)
    found, notes = load(text)
    kept = [(who, what.strip(), time) for who, what, time in said if what.strip()]
    assert [tuple(each) for each in found] == kept
    assert notes.left_out.total() == len(said) - len(kept)
