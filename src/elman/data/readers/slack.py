"""A Slack workspace's export: lists of people and channels, and a folder of days for each channel.

`users.json` is a list of `{"id", "name", "profile": {"display_name", "real_name", ...}, ...}`;
`channels.json`, `groups.json`, `dms.json` and `mpims.json` are lists of `{"id", "name", "created",
"members", ...}`. A day, such as `general/2023-11-14.json`, is a list of `{"type": "message",
"subtype", "user", "text", "ts", "thread_ts", ...}`; `ts` is a time in seconds and names a message
within its channel.

A channel is a chat; what was answered in a thread is a conversation of its own. A thread ends when
nobody answered for 14 days: what comes later begins another one.

Shape: Slack's documentation (docs.slack.dev: the event `message` and its subtypes, and the
formatting of message text), and the parsers hfaran/slack-export-viewer and mattermost/mmetl
(`services/slack/parse.go`).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from elman.data.conversation import Chat, Conversation, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import FolderReader, expect, items, json_start, parse
from elman.errors import ElmanError

LONGEST_SILENCE = timedelta(days=14)
"""A thread in which nobody answered for longer has ended."""

_DAYS, _USERS, _CHANNELS, _APPS = "days", "users", "channels", "apps"
_KINDS = {
    _DAYS: (r'"type"\s*:\s*"message"', r'"ts"\s*:\s*"\d{9,11}\.\d{1,6}"'),
    _USERS: (
        r'"id"\s*:\s*"[UW][A-Z0-9]+"',
        r'"profile"\s*:\s*\{',
        r'"(?:team_id|display_name|real_name)"\s*:',
    ),
    _CHANNELS: (r'"id"\s*:\s*"[CDG][A-Z0-9]+"', r'"created"\s*:\s*\d', r'"members"\s*:\s*\['),
    _APPS: (r'"change_type"\s*:', r'"user_id"\s*:\s*"[UW]', r'"date"\s*:'),
}
_PATTERNS = {kind: [re.compile(each) for each in needed] for kind, needed in _KINDS.items()}

_SAID = {
    *("", "me_message", "bot_message", "slackbot_response"),
    *("thread_broadcast", "file_share", "file_comment"),
}
_GONE = {"tombstone", "message_deleted"}

_MEDIA = "a photo, file or other media without text"
_CAPTION = "the text kept of a message with a photo, file or other media"

_MARKUP = re.compile(r"<([^<>]+)>|&(amp|lt|gt);")
_LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_ESCAPED = {"amp": "&", "lt": "<", "gt": ">"}


def _kind(head: str) -> str | None:
    start = json_start(head)
    if not start.startswith("["):
        return None
    return next(
        (kind for kind, needed in _PATTERNS.items() if all(each.search(start) for each in needed)),
        None,
    )


def _read(documents: Sequence[Document], notes: Notes) -> Iterator[Conversation | Chat]:
    kinds: defaultdict[str | None, list[Document]] = defaultdict(list)
    for document in documents:
        kinds[_kind(document.head())].append(document)
    for document in kinds[_APPS]:
        notes.leave_out_file("Slack's log of its apps, without messages", document.name)
    lists = kinds[_USERS] + kinds[_CHANNELS]
    if not kinds[_DAYS]:
        for document in lists:
            notes.leave_out_file("a list of names in Slack, without messages", document.name)
        return
    workspaces = {PurePosixPath(document.folder): _Workspace() for document in lists}
    for document in kinds[_USERS]:
        workspaces[PurePosixPath(document.folder)].read_users(document)
    for document in kinds[_CHANNELS]:
        workspaces[PurePosixPath(document.folder)].read_channels(document)
    folders: defaultdict[PurePosixPath, list[Document]] = defaultdict(list)
    for document in kinds[_DAYS]:
        folders[PurePosixPath(document.folder)].append(document)
    channels = []
    for folder, days in folders.items():
        root = next((up for up in (folder, *folder.parents) if up in workspaces), folder.parent)
        workspace = workspaces.get(root, _Workspace())
        name = workspace.channels.get(folder.name, folder.name)
        if len(workspaces) > 1:
            name = f"{root.name}/{name}"
        channels.append(_Channel(name, days, workspace, notes))
    for channel in channels:
        yield Chat(channel.name, channel.chat())
    # Only now, since a thread is known to be whole long after the chat has gone on: so each
    # channel is read twice rather than held.
    for channel in channels:
        yield from channel.threads()


@dataclass
class _Workspace:
    """Names by their ids."""

    users: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)

    def read_users(self, document: Document) -> None:
        users = {}
        for where, _, item in items(document, "item"):
            user = expect(item, dict, where, "each user")
            users[expect(user.get("id"), str, where, "'id'")] = user
        names = {key: _called(user.get("profile"), user) or key for key, user in users.items()}
        namesakes = Counter(names.values())
        for key, name in names.items():
            # Handles are unique, but names are not, and two people must not become one.
            handle = _first(users[key].get("name"), key)
            self.users[key] = name if namesakes[name] == 1 else f"{name} ({handle})"

    def read_channels(self, document: Document) -> None:
        for where, _, item in items(document, "item"):
            channel = expect(item, dict, where, "each channel")
            key = expect(channel.get("id"), str, where, "'id'")
            name = channel.get("name")
            if not name:  # people who write to each other directly
                members = expect(channel.get("members"), list, where, "'members'")
                people = [each for each in members if isinstance(each, str)]
                name = ", ".join(self.users.get(each, each) for each in people)
            self.channels[key] = expect(name, str, where, "'name'") or key

    def plain(self, text: str) -> str:
        """The text as people saw it, but for what Slack makes bold and the like."""
        return _MARKUP.sub(self._plain, text)

    def _plain(self, markup: re.Match[str]) -> str:
        inner, escaped = markup.groups()
        if escaped:
            return _ESCAPED[escaped]
        target, _, label = inner.partition("|")
        key, label = target[1:], self.plain(label)
        match target[:1]:
            case "@":
                return "@" + (self.users.get(key) or label.removeprefix("@") or key)
            case "#":
                return "#" + (label.removeprefix("#") or self.channels.get(key, key))
            case "!":  # here, channel, everyone, subteam^S012, date^1700000000^{date}
                return label or "@" + key.removeprefix("subteam^")
        if not _LINK.match(target):
            return markup[0]
        return label or self.plain(target.removeprefix("mailto:"))


@dataclass
class _Thread:
    """Answers to a message and the message itself, as far as they are known.

    Args:
        first: the `ts` of the first of them.
        latest: when somebody answered last.
    """

    first: str
    latest: datetime
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class _Channel:
    name: str
    days: list[Document]
    workspace: _Workspace
    notes: Notes

    def chat(self) -> Iterator[Message]:
        """What was said outside of threads."""
        for where, record, time, thread in self._records():
            if not thread and (message := self._message(record, where, time)):
                yield message

    def threads(self) -> Iterator[Conversation]:
        """The threads, in the order of their last answers."""
        running: dict[str, _Thread] = {}
        for where, record, time, key in self._records():
            if not key:
                continue
            while running and time - next(iter(running.values())).latest > LONGEST_SILENCE:
                yield from self._conversation(running.pop(next(iter(running))))
            thread = running.pop(key) if key in running else _Thread(record["ts"], time)
            thread.latest = time
            running[key] = thread  # the last of them now
            if message := self._message(record, where, time):
                thread.messages.append(message)
        for thread in running.values():
            yield from self._conversation(thread)

    def _conversation(self, thread: _Thread) -> Iterator[Conversation]:
        if thread.messages:
            yield Conversation(tuple(thread.messages), f"{self.name} thread {thread.first}")

    def _records(self) -> Iterator[tuple[str, dict[str, Any], datetime, str]]:
        """Where each record stands, the record, its time, and the thread that it belongs to."""
        for document in self.days:
            # A day is small, and is needed whole to put it in order.
            text = "".join(document.chunks())
            start = json_start(text)
            day = parse(start, document.name, 1 + text.count("\n", 0, len(text) - len(start)))
            found = []
            for number, item in enumerate(expect(day, list, document.name, "a day"), 1):
                where = f"{document.name}: item {number}"
                record = expect(item, dict, where, "each message")
                found.append((where, record, _time(record, where), _thread(record, where)))
            yield from sorted(found, key=lambda each: each[2])

    def _message(self, record: dict[str, Any], where: str, time: datetime) -> Message | None:
        subtype = expect(record.get("subtype") or "", str, where, "'subtype'")
        if subtype in _GONE:
            self.notes.leave_out("deleted by its author", where)
            return None
        if subtype not in _SAID or record.get("type", "message") != "message":
            self.notes.leave_out("a system line", where)
            return None
        if subtype == "file_comment":  # whose own text is Slack's
            comment = expect(record.get("comment"), dict, where, "'comment'")
            record = {"user": comment.get("user"), "text": comment.get("comment")}
        text = self.workspace.plain(_text(record, where))
        files = record.get("files") or record.get("file")
        if not text.strip():
            self.notes.leave_out(_MEDIA if files else "without text", where)
            return None
        author = self._author(record, subtype)
        if not author:
            self.notes.leave_out("without an author", where)
            return None
        if files:
            self.notes.change(_CAPTION, where)
        return Message(author, text, time)

    def _author(self, record: dict[str, Any], subtype: str) -> str:
        user, app = record.get("user"), record.get("bot_profile")
        return _first(
            record.get("username") if subtype == "bot_message" else "",
            self.workspace.users.get(user) if isinstance(user, str) else "",
            _called(record.get("user_profile")),
            record.get("username"),
            _called(app),
            user,
            record.get("bot_id"),
        )


def _first(*names: Any) -> str:
    """The first that is a name at all."""
    return next((name for name in names if isinstance(name, str) and name.strip()), "")


def _called(*profiles: Any) -> str:
    """What people call somebody."""
    return _first(
        *(
            profile.get(key)
            for key in ("display_name", "real_name", "name")
            for profile in profiles
            if isinstance(profile, dict)
        )
    )


def _text(record: dict[str, Any], where: str) -> str:
    """What somebody wrote, still marked up."""
    text, file = record.get("text"), record.get("file")
    if isinstance(file, dict):  # until 2018, when the text was Slack's own, about the file
        comment = file.get("initial_comment")
        text = comment.get("comment") if isinstance(comment, dict) else ""
    written: str = expect("" if text is None else text, str, where, "'text'")
    return written


def _thread(record: dict[str, Any], where: str) -> str:
    """The `ts` of the message that a thread began with; none for messages without answers."""
    thread: str = expect(record.get("thread_ts") or "", str, where, "'thread_ts'")
    if thread == record["ts"] and not (record.get("reply_count") or record.get("replies")):
        return ""
    return thread


def _time(record: dict[str, Any], where: str) -> datetime:
    seconds = expect(record.get("ts"), str, where, "'ts'")
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise ElmanError(
            f"{where}: expected 'ts' to be a time in seconds, got {seconds[:40]!r}"
        ) from None


READER = FolderReader(
    lambda head: _kind(head) is not None, _read, keys=("type", "user", "ts", "text")
)
