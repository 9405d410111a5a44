import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from elman.data import dataset, readers
from elman.data.conversation import Conversation, Message
from elman.data.dataset import Dataset
from elman.data.document import Document
from elman.data.segmentation import DEFAULT_GAP_SECONDS
from elman.data.source import documents
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.errors import ElmanError

START = datetime(2024, 3, 1, 8, tzinfo=UTC)
Make = Callable[..., Dataset]


def talk(day: int, *said: tuple[str, str]) -> Conversation:
    messages = tuple(
        Message(author, text, START + timedelta(days=day, minutes=n))
        for n, (author, text) in enumerate(said)
    )
    return Conversation(messages, f"day {day}")


TALKS = [
    talk(
        0, ("Mira Kos", "write to mira@kettle.example"), ("Tobin", "Yes, Mira"), ("Ada", "Me too")
    ),
    talk(1, ("Mira Kos", "Hi"), ("Ada", "Hello")),
    *(talk(day, ("Mira Kos", f"day {day}"), ("Tobin", f"yes {day}")) for day in range(2, 20)),
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(conversations: list[Conversation] = TALKS, **options: Any) -> Dataset:
        path = tmp_path / "chats.jsonl"
        lines = (json.dumps(each.to_json()) + "\n" for each in conversations)
        path.write_text("".join(lines), "utf-8")
        return Dataset.read(str(path), **options)

    return make


def test_a_dataset_is_what_the_source_says(make: Make) -> None:
    dataset = make()
    assert list(dataset.conversations()) == list(dataset.conversations()) == TALKS
    assert dataset.survey.people == {"Mira Kos": 20, "Tobin": 19, "Ada": 2}
    assert (dataset.gap, dataset.others, dataset.bot) == (None, "user", None)
    assert not dataset.notes.lines()


@pytest.mark.parametrize("most", [0, 200, 1 << 25])
def test_kept_in_memory_they_are_those_that_are_read_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(dataset, "MAX_KEPT_TEXT_BYTES", most)
    options: dict[str, Any] = {"bot": "Mira Kos", "redact": True, "drop": ["Ada"], "gap": 3600.0}
    again, kept = make(**options), make(keep=True, **options)
    assert list(kept.conversations()) == list(kept.conversations()) == list(again.conversations())
    assert list(kept.parts(test=True)) == list(again.parts(test=True))
    Path(kept.path).write_text("", "utf-8")
    if most > 200:
        assert list(kept.conversations())
    else:
        with pytest.raises(ElmanError, match="empty"):
            list(kept.conversations())


def test_gathered_parts_are_those_that_are_read_again(make: Make) -> None:
    for most in (60, None):
        again, gathered = (make(split="id", max_text_bytes=most) for _ in range(2))
        gathered = gathered.gathered(True, 30)
        Path(gathered.path).unlink()
        if most is None:
            with pytest.raises(ElmanError):
                list(gathered.parts(True))
            continue
        make()  # the file is there again
        expected = list(again.parts(True))
        Path(gathered.path).unlink()
        found = list(gathered.parts(True))
        assert [each for each in found if each[0] == "train"] == [
            each for each in expected if each[0] == "train"
        ]
        assert {part for part, _ in found} == {part for part, _ in expected}
        assert list(gathered.texts(True)) == [
            turn.text for part, each in expected if part == "train" for turn in each.turns(None)
        ]


def test_of_much_text_some_messages_of_everybody_are_heard(make: Make) -> None:
    dataset = make(split="id")
    learned = [each for part, each in dataset.parts() if part == "train"]
    every = list(dataset.texts())
    assert every == [turn.text for each in learned for turn in each.turns(None)]
    some = list(dataset.texts(most=dataset.survey.text_bytes // 2))
    assert some == every[::3]
    assert {"yes", "day"} == {text.split()[0] for text in some[5:]}


def test_conversations_without_the_bot_are_left_out_and_counted(make: Make) -> None:
    dataset = make(bot="Ada")
    assert list(dataset.conversations()) == TALKS[:2]
    assert dataset.notes.left_out == {"Ada says nothing in their conversation": 36}
    assert dataset.survey.people == {"Mira Kos": 2, "Tobin": 1, "Ada": 2}


def test_people_are_known_by_name_where_a_bot_has_several_around_it(make: Make) -> None:
    assert make(bot="Ada").others == "names"
    assert make(bot="Ada", others="user").others == "user"
    assert make(TALKS[1:], bot="Tobin").others == "user"
    assert make().others == "user"  # among peers nobody is the bot


def test_an_unknown_bot_is_named_with_everybody_there_is(make: Make) -> None:
    with pytest.raises(ElmanError, match=r"--bot 'Ann': nobody .* Mira Kos .* Tobin .* Ada"):
        make(bot="Ann")


def test_who_is_to_be_left_out_is_gone(make: Make) -> None:
    dataset = make(drop=("Ada",))
    said = [message for each in dataset.conversations() for message in each.messages]
    assert "Ada" not in {message.author for message in said}
    assert dataset.notes.left_out == {
        "Ada was to be left out": 2,
        "nobody answered in their conversation": 1,
    }
    assert len(said) + dataset.notes.left_out.total() == sum(len(t.messages) for t in TALKS)
    with pytest.raises(ElmanError, match="--drop 'Bob': nobody has that name"):
        make(drop=("Ada", "Bob"))


def test_what_is_private_is_replaced_and_people_renamed_in_what_they_say_too(make: Make) -> None:
    dataset = make(bot="Tobin", redact=True, rename=True)
    [first, *_] = dataset.conversations()
    mira, tobin = dataset.pseudonyms["Mira Kos"], dataset.pseudonyms["Tobin"]
    assert dataset.bot == tobin
    assert first.messages[0][:2] == (mira, "write to [email]")
    assert first.messages[1][:2] == (tobin, f"Yes, {mira}")
    text = json.dumps([each.to_json() for each in dataset.conversations()])
    assert not any(name in text for name in ("Mira", "Tobin", "Ada", "kettle.example"))
    # A run that goes on knows its bot by the new name alone.
    assert make(bot=tobin, redact=True, rename=True).bot == tobin


@pytest.mark.parametrize("vocabulary", [MIN_VOCABULARY_SIZE, 300])
def test_the_newest_are_held_out_and_near_duplicates_of_what_is_learned_with_them(
    make: Make, vocabulary: int
) -> None:
    long = [("Mira Kos", "what do we do about the kettle, it is broken again, I think, Tobin?")]
    repeated = [talk(day, *long, ("Tobin", "buy a new one, they are cheap")) for day in (0, 38)]
    others = [
        talk(day, ("Mira Kos", f"{day} is a number of its own"), ("Tobin", f"{day * 7}"))
        for day in range(1, 38)
    ]
    conversations = [repeated[0], *others, repeated[1]]
    dataset = make(conversations)
    tokenizer = Tokenizer.train((m.text for c in conversations for m in c.messages), vocabulary)
    held_out = [each.id for part, each in dataset.parts() if part == "dev"]
    assert held_out == ["day 35", "day 36", "day 37", "day 38"]
    parts, left_out = dataset.encode(tokenizer)
    assert (len(parts["train"]), len(parts["dev"]), left_out) == (35, 3, 1)
    assert Dataset.read(dataset.path, split="id").encode(tokenizer)[1] <= 1
    [same, other] = [make([each] * 2).encode(tokenizer) for each in repeated]
    # Where nothing else is there to be held out, it stays.
    assert [len(part) for part in same[0].values()] == [1, 1]
    assert same[1] == other[1] == 0


def chat(tmp_path: Path, *minutes: float) -> str:
    """A messenger's export, whose chat is cut where people paused."""
    times = [START + timedelta(minutes=m) for m in minutes]
    lines = [
        f"[{time:%d/%m/%Y, %H:%M:%S}] {'Mira' if n % 2 else 'Tobin'}: word {n}\n"
        for n, time in enumerate(times)
    ]
    (tmp_path / "_chat.txt").write_text("".join(lines), "utf-8")
    return str(tmp_path / "_chat.txt")


def test_chats_are_cut_at_the_gap_that_is_given_or_found(tmp_path: Path) -> None:
    path = chat(tmp_path, 0, 1, 30, 31, 200, 201)
    assert [Dataset.read(path, gap=gap).survey.conversations for gap in (600, 3600, 86400)] == [
        3,
        2,
        1,
    ]
    found = Dataset.read(path)
    assert (found.gap, found.survey.conversations) == (DEFAULT_GAP_SECONDS, 2)


@pytest.mark.parametrize(
    "options",
    [{}, {"bot": "Mira", "redact": True}, {"bot": "mira", "drop": ["Ada"], "rename": True}],
)
@pytest.mark.parametrize(("max_chars", "passes"), [(1 << 24, 1), (20, 2)])
def test_a_file_is_read_once_to_survey_and_once_to_encode(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    max_chars: int,
    passes: int,
) -> None:
    """Where it is too large to be held, names and the gap take one pass of their own."""
    monkeypatch.setattr(dataset, "MAX_HELD_CHARS", max_chars)
    read: list[str] = []
    chunks = Document.chunks

    def counted(self: Document, *size: int) -> Iterator[str]:
        read.append(self.name)
        return chunks(self, *size)

    monkeypatch.setattr(Document, "chunks", counted)
    path = chat(tmp_path, *range(0, 9000, 90))
    export = Path(path)
    export.write_text(export.read_text() + "[01/03/2025, 08:00:00] Ada: Bye\n")
    list(readers.read(documents(path), None, readers.Reading(gap=3600.0)))
    once = len(read)  # the reader of WhatsApp's exports looks at their dates first
    seen = Dataset.read(path, **options)
    assert len(read) == once * (1 + passes)
    seen.encode(Tokenizer.train([], MIN_VOCABULARY_SIZE))
    assert len(read) == once * (2 + passes)
    kept = Dataset.read(path, keep=True, **options)
    kept.encode(Tokenizer.train([], MIN_VOCABULARY_SIZE))
    assert len(read) == once * (2 + 2 * passes)
    assert list(kept.conversations()) == list(seen.conversations())
    assert kept.survey == seen.survey


def test_the_built_in_conversations_are_divided_as_they_ever_were() -> None:
    assert not Dataset.read("chitchat").survey.by_time
    assert Dataset.read("chitchat", split="time").survey.by_time


def test_every_message_is_watched_once(make: Make) -> None:
    seen: list[Message] = []

    def watch(message: Message) -> Message:
        seen.append(message)
        return message

    dataset = make(watch=watch)
    list(dataset.conversations())
    assert seen == [message for each in TALKS for message in each.messages]
