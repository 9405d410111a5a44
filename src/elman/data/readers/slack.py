"""A Slack workspace's export: lists of people and channels, and a folder of days for each channel.

`users.json` is a list of `{"id", "name", "profile": {"display_name", "real_name", ...}, ...}`;
`channels.json`, `groups.json`, `dms.json` and `mpims.json` are lists of `{"id", "name", "created",
"members", ...}`. A day, such as `general/2023-11-14.json`, is a list of `{"type": "message",
"subtype", "user", "text", "ts", "thread_ts", ...}`; `ts` is a time in seconds and names a message
within its channel.

A channel is a chat; what was answered in a thread is a conversation of its own. A thread ends when
nobody answered for 14 days: what comes later begins another one.

A message whose `ts` is missing or no time stands where it stood in its day.

Shape: Slack's documentation (docs.slack.dev: the event `message` and its subtypes), and the parsers
hfaran/slack-export-viewer and mattermost/mmetl (`services/slack/parse.go`).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from elman.data.conversation import Chat, Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import json_start, parse
from elman.data.readers.reader import FolderReader
from elman.data.readers.records import expect, kept, listed
from elman.data.readers.slack_names import Workspace, first_name, name_in
from elman.data.readers.slack_text import said
from elman.data.readers.timestamps import TAKEN_OFF, timestamp

LONGEST_SILENCE = timedelta(days=14)
"""A thread in which nobody answered for longer has ended."""

_DAYS, _USERS, _CHANNELS, _APPS = "days", "users", "channels", "apps"
_KINDS = {
    _DAYS: (r'"type"\s*:\s*"message"', r'"ts"\s*:\s*"?\d|"user"\s*:\s*"[UW]\w{2,}"'),
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
    workspaces = {PurePosixPath(document.folder): Workspace() for document in lists}
    for document in kinds[_USERS]:
        workspaces[PurePosixPath(document.folder)].read_users(document, notes)
    for document in kinds[_CHANNELS]:
        workspaces[PurePosixPath(document.folder)].read_channels(document, notes)
    folders: defaultdict[PurePosixPath, list[Document]] = defaultdict(list)
    for document in kinds[_DAYS]:
        folders[PurePosixPath(document.folder)].append(document)
    channels = []
    for folder, days in folders.items():
        root = next((up for up in (folder, *folder.parents) if up in workspaces), folder.parent)
        workspace = workspaces.get(root, Workspace())
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
class _Record:
    """One message as it stands in its day.

    Args:
        time: None where it says none.
        thread: the `ts` of the message that its thread began with; empty outside of threads.
        order: seconds since 1970: its time, or that of the one before it.
    """

    where: str
    fields: dict[str, Any]
    time: datetime | None
    thread: str
    order: float = 0.0


@dataclass
class _Thread:
    """Answers to a message and the message itself, as far as they are known.

    Args:
        first: the `ts` of the first of them.
        latest: when somebody answered last, in seconds since 1970.
    """

    first: str
    latest: float
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class _Channel:
    name: str
    days: list[Document]
    workspace: Workspace
    notes: Notes

    def chat(self) -> Iterator[Message]:
        """Yield what was said outside of threads."""
        records = ((each.where, each) for each in self._records(self.notes) if not each.thread)
        return kept(records, self._message, self.notes)

    def threads(self) -> Iterator[Conversation]:
        """Yield the threads, in the order of their last answers."""
        running: dict[str, _Thread] = {}
        for record in self._records(Notes()):  # what is odd was counted with the chat
            if not record.thread:
                continue
            while running and _ended(oldest := next(iter(running.values())), record.order):
                running.pop(next(iter(running)))
                yield from self._conversation(oldest)
            ts = first_name(record.fields.get("ts"), record.thread)
            thread = running.pop(record.thread, None) or _Thread(ts, record.order)
            thread.latest = record.order
            running[record.thread] = thread  # the last of them now
            thread.messages += kept([(record.where, record)], self._message, self.notes)
        for thread in running.values():
            yield from self._conversation(thread)

    def _conversation(self, thread: _Thread) -> Iterator[Conversation]:
        if thread.messages:
            yield Conversation(tuple(thread.messages), f"{self.name} thread {thread.first}")

    def _records(self, notes: Notes) -> Iterator[_Record]:
        latest = 0.0
        for document in self.days:
            # A day is small, and is needed whole to put it in order.
            text = "".join(document.chunks())
            start = json_start(text)
            day = parse(start, document.name, 1 + text.count("\n", 0, len(text) - len(start)))
            numbered = (
                (f"{document.name}: item {number}", item)
                for number, (_, item) in enumerate(listed(day, document.name, "a day", notes), 1)
            )
            found = list(kept(numbered, _record, notes))
            latest = _set_order(found, latest)
            yield from sorted(found, key=lambda record: record.order)

    def _message(self, found: _Record, where: str, notes: Notes) -> Message | None:
        record = found.fields
        subtype = expect(record.get("subtype") or "", str, where, "'subtype'")
        reason = ""
        if subtype in _GONE:
            reason = NoteReason.DELETED
        elif subtype not in _SAID or record.get("type") not in (None, "message"):
            reason = NoteReason.SYSTEM_LINE
        if reason:
            notes.leave_out(reason, where)
            return None
        record = _written(record, subtype, where)
        text = said(record, self.workspace.plain)
        files = record.get("files") or record.get("file")
        if not text.strip():
            expect(record.get("text") or "", str, where, "'text'")
            notes.leave_out(NoteReason.FILE_ALONE if files else NoteReason.NO_TEXT, where)
            return None
        author = self._author(record, subtype)
        if not author:
            notes.leave_out(NoteReason.NO_AUTHOR, where)
            return None
        if files:
            notes.change(NoteReason.CAPTION_KEPT, where)
        if found.time is None and record.get("ts") is not None:
            notes.change(TAKEN_OFF, where)
        return Message(author, text, found.time)

    def _author(self, record: dict[str, Any], subtype: str) -> str:
        user, app = record.get("user"), record.get("bot_profile")
        return first_name(
            record.get("username") if subtype == "bot_message" else "",
            self.workspace.users.get(user) if isinstance(user, str) else "",
            name_in(record.get("user_profile")),
            record.get("username"),
            name_in(app),
            user,
            record.get("bot_id"),
        )


def _written(record: dict[str, Any], subtype: str, where: str) -> dict[str, Any]:
    """Return the record with what somebody wrote for its text, where its own text is Slack's."""
    if subtype == "file_comment":
        comment = expect(record.get("comment"), dict, where, "'comment'")
        return {"user": comment.get("user"), "text": comment.get("comment")}
    file = record.get("file")
    if isinstance(file, dict):  # until 2018, when the text was about the file
        comment = file.get("initial_comment")
        return record | {"text": comment.get("comment") if isinstance(comment, dict) else ""}
    return record


def _record(item: Any, where: str, _: Notes) -> _Record:
    fields = expect(item, dict, where, "each message")
    return _Record(where, fields, timestamp(fields.get("ts")), _thread(fields))


def _set_order(day: list[_Record], before: float) -> float:
    """Let records without a time follow the one before them; return the last time of the day."""
    times = [Message("", "", record.time).seconds for record in day]
    before = next((time for time in times if time is not None), before)
    for record, time in zip(day, times, strict=True):
        record.order = before = before if time is None else time
    return before


def _thread(record: dict[str, Any]) -> str:
    """Return the `ts` of the message that began the thread; empty for messages without answers."""
    thread = record.get("thread_ts")
    if not isinstance(thread, str):
        return ""
    if thread == record.get("ts") and not (record.get("reply_count") or record.get("replies")):
        return ""
    return thread


def _ended(thread: _Thread, now: float) -> bool:
    return now - thread.latest > LONGEST_SILENCE.total_seconds()


READER = FolderReader(
    lambda head: _kind(head) is not None, _read, keys=("type", "user", "ts", "text")
)
