import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Chat, Conversation
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.slack import LONGEST_SILENCE, READER
from elman.data.source import documents

GOLDEN = Path(__file__).parent / "golden"

START = datetime(2023, 11, 14, tzinfo=UTC)
PEOPLE: list[dict[str, Any]] = [
    {"id": f"U{name.upper()}", "name": name, "profile": {"display_name": name.title()}}
    for name in ("mira", "tobin", "ada")
]

Said = list[tuple[str, str]]


def ts(after: timedelta) -> str:
    return f"{(START + after).timestamp():.6f}"


def message(after: timedelta, user: str | None, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "user": user, "text": text, "ts": ts(after)} | more


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


def read(folder: Path) -> tuple[dict[str, Said], Notes]:
    """What was said, by the id of its chat or conversation, in the order of them."""
    notes = Notes()
    found = {}
    for item in READER.read(documents(folder), notes):
        assert item.id not in found
        found[item.id] = [(each.author, each.text) for each in item.messages]
    return found, notes


def said(folder: Path, record: dict[str, Any]) -> tuple[str, str]:
    """Author and text of one record in a workspace of `PEOPLE`."""
    write(folder, {"users.json": PEOPLE, "tea/2023-11-14.json": [record]})
    [found] = read(folder)[0]["tea"]
    return found


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<@UMIRA>", "@Mira"),
        ("<@UMIRA|mm>", "@Mira"),
        ("<@U0GONE|gone>", "@gone"),
        ("<@U0GONE>", "@U0GONE"),
        ("<#C0TEA|tea>", "#tea"),
        ("<#C0TEA>", "#C0TEA"),
        ("<!here|@here> <!channel> <!everyone>", "@here @channel @everyone"),
        ("<!subteam^S0TEA>", "@S0TEA"),
        ("<!date^1699920000^{date_num}|2023-11-14>", "2023-11-14"),
        ("<https://tea.example|a &lt;b&gt; c>", "a <b> c"),
        ("<https://tea.example/|>", "https://tea.example/"),
        ("<tel:123|123>", "123"),
        ("&amp;lt; is &lt;", "&lt; is <"),
        ("a <b> <> <|c> > d < e", "a <b> <> <|c> > d < e"),
        (":tea: *so* `good`", ":tea: *so* `good`"),
    ],
)
def test_markup_becomes_what_people_saw(tmp_path: Path, text: str, plain: str) -> None:
    assert said(tmp_path, message(timedelta(), "UADA", text)) == ("Ada", plain)


@pytest.mark.parametrize(
    ("author", "record"),
    [
        ("Mira", {"user": "UMIRA", "user_profile": {"display_name": "M"}}),
        ("Guest", {"user": "U0GUEST", "user_profile": {"display_name": " ", "real_name": "Guest"}}),
        ("Timer", {"user": "UMIRA", "subtype": "bot_message", "username": "Timer"}),
        ("Timer", {"bot_id": "B0", "bot_profile": {"id": "B0", "name": "Timer"}}),
        ("B0", {"bot_id": "B0"}),
        ("U0GUEST", {"user": "U0GUEST", "user_profile": None}),
    ],
)
def test_authors_have_the_names_that_people_know(
    tmp_path: Path, author: str, record: dict[str, Any]
) -> None:
    assert said(tmp_path, message(timedelta(), None, "Hi") | record) == (author, "Hi")


def test_nobody_said_what_has_no_author(tmp_path: Path) -> None:
    write(tmp_path, {"tea/2023-11-14.json": [message(timedelta(), None, "Hi")]})
    found, notes = read(tmp_path)
    assert (found, notes.left_out) == ({"tea": []}, {"without an author": 1})


def test_workspaces_side_by_side_keep_their_own_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        person = {"id": "U0", "name": name, "profile": {"display_name": name.title()}}
        channel = {"id": "C0", "name": f"{name}-tea", "created": 1, "members": []}
        files = {"users.json": [person], "channels.json": [channel]}
        files["general/2023-11-14.json"] = [message(timedelta(), "U0", "<@U0> <#C0>")]
        write(tmp_path / name, files)
    found, _ = read(tmp_path)
    assert found == {
        "one/general": [("One", "@One #one-tea")],
        "two/general": [("Two", "@Two #two-tea")],
    }


@pytest.mark.parametrize(("late", "threads"), [(timedelta(0), 1), (timedelta(seconds=1), 2)])
def test_a_thread_ends_after_a_long_silence(tmp_path: Path, late: timedelta, threads: int) -> None:
    parent = ts(timedelta())
    records = [
        message(timedelta(), "UMIRA", "Tea?", thread_ts=parent, reply_count=2),
        message(timedelta(days=1), "UADA", "Yes", thread_ts=parent),
        message(timedelta(days=1) + LONGEST_SILENCE + late, "UADA", "Still?", thread_ts=parent),
    ]
    write(tmp_path, {f"tea/{number}.json": [each] for number, each in enumerate(records)})
    found, _ = read(tmp_path)
    assert len(found) == 1 + threads
    assert found["tea"] == []
    assert [text for each in found.values() for _, text in each] == ["Tea?", "Yes", "Still?"]


def test_all_chats_come_before_all_threads(tmp_path: Path) -> None:
    parent = ts(timedelta())
    day = [
        message(timedelta(), "UMIRA", "Tea?", thread_ts=parent, replies=[{"user": "UADA"}]),
        message(timedelta(seconds=1), "UADA", "Yes", thread_ts=parent),
    ]
    write(tmp_path, {f"{channel}/2023-11-14.json": day for channel in ("a", "b")})
    items = [(item, list(item.messages)) for item in READER.read(documents(tmp_path), Notes())]
    assert [type(item) for item, _ in items] == [Chat, Chat, Conversation, Conversation]


def test_lists_of_names_alone_are_no_messages(tmp_path: Path) -> None:
    write(tmp_path, {"users.json": [{"id": "U0", "profile": {}, "team_id": "T0"}]})
    found, notes = read(tmp_path)
    assert (found, notes.files.total()) == ({}, 1)


@pytest.mark.parametrize(
    ("broken", "problem", "got"),
    [
        (5, "each message to be an object", "5"),
        (None, "each message to be an object", "nothing"),
        ({"text": ["Hi"]}, "'text' to be text", '["Hi"]'),
        ({"subtype": ["x"]}, "'subtype' to be text", '["x"]'),
        ({"subtype": "file_comment", "comment": "Hi"}, "'comment' to be an object", '"Hi"'),
    ],
)
def test_an_odd_message_is_left_out_and_counted(
    tmp_path: Path, broken: Any, problem: str, got: str
) -> None:
    one, other = (message(timedelta(seconds=n), "UMIRA", "Hi") for n in (1, 3))
    odd = {**one, **broken} if isinstance(broken, dict) else broken
    write(tmp_path, {"tea/2023-11-14.json": [one, odd, other]})
    found, notes = read(tmp_path)
    assert found == {"tea": [("UMIRA", "Hi")] * 2}
    assert notes.left_out == {f"expected {problem}": 1}
    where = notes.first[f"expected {problem}"]
    assert where.endswith(f"2023-11-14.json: item 2, got {got}")


@pytest.mark.parametrize(
    ("ts", "changed"),
    [(None, 0), ("1e999", 1), ("soon", 1), ([], 1), ("DROP", 0)],
)
def test_a_message_without_a_time_stays_where_it_stood(
    tmp_path: Path, ts: Any, changed: int
) -> None:
    day = [message(timedelta(seconds=n), "UMIRA", f"{n}", thread_ts={"x": 1}) for n in (5, 6, 1)]
    day[1]["ts"] = ts
    if ts == "DROP":
        del day[1]["ts"]
    write(tmp_path, {"tea/2023-11-14.json": day})
    notes = Notes()
    [chat] = READER.read(documents(tmp_path), notes)
    found = list(chat.messages)
    assert [(m.text, m.time is None) for m in found] == [("1", False), ("5", False), ("6", True)]
    assert (notes.left_out.total(), notes.changed.total()) == (0, changed)


@pytest.mark.parametrize("ts", [1699920000, "2023-11-14T00:00:00Z", 1699920000000, "1699920000"])
def test_times_in_other_forms_are_read(tmp_path: Path, ts: Any) -> None:
    write(tmp_path, {"tea/1.json": [{**message(timedelta(), "UMIRA", "Hi"), "ts": ts}]})
    [chat] = READER.read(documents(tmp_path), Notes())
    assert [m.time for m in chat.messages] == [START]


def test_a_record_of_slack_without_a_time_is_a_system_line(tmp_path: Path) -> None:
    odd = {"type": "message", "subtype": "sh_room_created", "room": {"id": "R0"}}
    day = [message(timedelta(), "UMIRA", "Hi"), odd]
    found, notes = read(write(tmp_path, {"tea/2023-11-14.json": day}))
    assert (len(found["tea"]), notes.left_out) == (1, {"a system line": 1})


def test_odd_lists_of_names_cost_only_those_names(tmp_path: Path) -> None:
    nameless = {"id": "C0TEA", "name": 5, "created": 1}
    channels = [5, nameless | {"members": 7}, nameless | {"id": "C0", "members": [5]}]
    users = [None, {"id": 5}, *PEOPLE, {"id": "UBO", "profile": 5, "team_id": "T0"}]
    day = [message(timedelta(), user, "<#C0TEA>") for user in ("UMIRA", "UBO")]
    write(tmp_path, {"users.json": users, "channels.json": channels, "C0TEA/1.json": day})
    found, notes = read(tmp_path)
    assert found == {"C0TEA": [("Mira", "#C0TEA"), ("UBO", "#C0TEA")]}
    assert notes.left_out == {
        "expected each user to be an object": 1,
        "expected 'id' to be text": 1,
        "expected each channel to be an object": 1,
    }


def section(*elements: dict[str, Any], kind: str = "rich_text_section") -> dict[str, Any]:
    return {"type": kind, "elements": list(elements)}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "style": {"bold": True}}


RICH: list[tuple[dict[str, Any], str]] = [
    (section(words("Tea is "), words("ready")), "Tea is ready"),
    (section({"type": "user", "user_id": "UMIRA"}, words("?")), "@Mira?"),
    (section({"type": "emoji", "name": "tea"}), ":tea:"),
    (section({"type": "channel", "channel_id": "C0"}), "#C0"),
    (section({"type": "broadcast", "range": "here"}), "@here"),
    (section({"type": "usergroup", "usergroup_id": "S0"}), "@S0"),
    (section({"type": "link", "url": "https://tea.example"}), "https://tea.example"),
    (section({"type": "link", "url": "https://tea.example", "text": "tea"}), "tea"),
    (section({"type": "date", "timestamp": 1, "fallback": "today"}), "today"),
    (section(words("a\nb"), kind="rich_text_quote"), "> a\n> b"),
    (section(words("x = 1\n  y"), kind="rich_text_preformatted"), "x = 1\n  y"),
    (section(section(words("a")), section(words("b")), kind="rich_text_list"), "• a\n• b"),
    (
        section(section(words("a")), section(words("b")), kind="rich_text_list")
        | {"style": "ordered", "indent": 1},
        "    1. a\n    2. b",
    ),
]


@pytest.mark.parametrize(("element", "text"), RICH)
def test_what_people_write_in_blocks(tmp_path: Path, element: dict[str, Any], text: str) -> None:
    blocks = [{"type": "rich_text", "elements": [element]}]
    assert said(tmp_path, message(timedelta(), "UADA", "", blocks=blocks)) == ("Ada", text)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "<@UMIRA> &lt;"}}]},
            "@Mira <",
        ),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "Tea"}}, 5]}, "Tea"),
        ({"blocks": [{"type": "section", "fields": [{"text": "a"}, {"text": "b"}]}]}, "a\nb"),
        ({"blocks": [{"type": "context", "elements": [{"text": "a"}, {"text": "b"}]}]}, "a b"),
        ({"attachments": [{"title": "T", "text": "x", "fallback": "f"}]}, "T\nx"),
        ({"attachments": [{"fallback": "<https://tea.example|f>"}]}, "f"),
        ({"attachments": [{"pretext": "p", "fields": [{"title": "a", "value": "b"}]}]}, "p\na\nb"),
        (
            {
                "attachments": [
                    {
                        "fallback": "[no preview available]",
                        "blocks": [{"type": "markdown", "text": "m"}],
                    }
                ]
            },
            "m",
        ),
        ({"text": ["x"], "attachments": [{"text": "t"}]}, "t"),
        (
            {
                "text": "This content can't be displayed.",
                "blocks": [{"type": "rich_text", "elements": [section(words("shown"))]}],
            },
            "shown",
        ),
        (
            {
                "text": "in short",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "at length"}}],
            },
            "at length",
        ),
        (
            {
                "text": "*mine*",
                "blocks": [{"type": "rich_text", "elements": [section(words("mine"))]}],
            },
            "*mine*",
        ),
        ({"text": "a link", "attachments": [{"title": "its preview"}]}, "a link"),
    ],
)
def test_what_apps_say_in_blocks_and_attachments(
    tmp_path: Path, more: dict[str, Any], text: str
) -> None:
    record = message(timedelta(), None, "", subtype="bot_message", username="Timer")
    assert said(tmp_path, record | more) == ("Timer", text)


def test_what_is_shared_is_somebody_elses(tmp_path: Path) -> None:
    shared = [{"is_msg_unfurl": True, "author_name": "Bo", "text": "Hi"}]
    write(tmp_path, {"tea/1.json": [message(timedelta(), "UADA", "", attachments=shared)]})
    found, notes = read(tmp_path)
    assert (found, notes.left_out) == ({"tea": []}, {"without text": 1})


def test_files_of_other_formats_are_left_to_their_readers() -> None:
    others = [file for file in GOLDEN.rglob("*") if file.is_file() and "slack" not in file.parts]
    assert others
    assert not [file for file in others if READER.matches(Document("talk", file).head())]


@st.composite
def exports(draw: st.DrawFn) -> list[tuple[dict[str, Any], str, bool]]:
    """Records, the thread of each (its parent's `ts`), and whether it is to be kept."""
    found: list[tuple[dict[str, Any], str, bool]] = []
    parents: list[str] = []
    steps = draw(st.lists(st.integers(1, 10**6), max_size=25))
    after = timedelta()
    for step in steps:
        after += timedelta(seconds=step)
        text = draw(st.text(st.characters(exclude_characters="<>&", exclude_categories=["Cs"])))
        record = message(after, draw(st.sampled_from(PEOPLE))["id"], text)
        kind = draw(st.sampled_from(["plain", "parent", "reply", "system", "deleted"]))
        thread = ""
        if kind == "parent":
            thread = record["ts"]
            parents.append(thread)
            record |= {"thread_ts": thread, "reply_count": 1}
        elif kind == "reply" and parents:
            thread = draw(st.sampled_from(parents))
            record |= {"thread_ts": thread}
        elif kind == "system":
            record |= {"subtype": "channel_join"}
        elif kind == "deleted":
            record |= {"subtype": "tombstone"}
        found.append((record, thread, "subtype" not in record and text.strip() != ""))
    return found


@given(exports())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(
    tmp_path_factory: pytest.TempPathFactory, export: list[tuple[dict[str, Any], str, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("slack")
    days: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record, _, _ in export:
        day = datetime.fromtimestamp(float(record["ts"]), UTC).date()
        days[f"tea/{day}.json"].insert(0, record)
    found, notes = read(write(folder, {"users.json": PEOPLE, **days}))
    names = {person["id"]: person["name"].title() for person in PEOPLE}
    kept = [
        (names[record["user"]], record["text"], thread) for record, thread, keep in export if keep
    ]
    assert sum(map(len, found.values())) + notes.left_out.total() == len(export)
    assert found.pop("tea", []) == [(author, text) for author, text, thread in kept if not thread]
    answers = [(author, text) for author, text, thread in kept if thread]
    assert sorted(each for thread in found.values() for each in thread) == sorted(answers)
