"""What the server keeps beside the messages: responses, and what people thought of them."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from elman.chat.database import TABLES
from elman.chat.memory import MemoryStore, Node
from elman.errors import ElmanError

responses = Table(
    "responses",
    TABLES,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("chat", String, nullable=False),
    Column("previous", String),
    Column("model", String, nullable=False),
    Column("made_by", LargeBinary, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("read", Integer, nullable=False),
    Column("said", Integer, nullable=False),
    Column("asked_for", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("completed_at", Float, nullable=False),
    Index("of_chat", "owner", "chat", "created_at"),
)

feedback = Table(
    "feedback",
    TABLES,
    Column("owner", String, primary_key=True),
    Column("response_id", String, primary_key=True),
    Column("rating", String),
    Column("instead", Text),
    Column("created_at", Float, nullable=False),
)


class Record(NamedTuple):
    """One response.

    Args:
        id: begins with resp_.
        chat: the id of the first response of its conversation.
        previous: the response that it goes on from, if any.
        model: the bot's name.
        made_by: the digest of what made its states.
        key: of its last message, in the memory.
        messages: how many the bot had read and said with it.
        bytes: of the state.
        input: what was said to the bot.
        output: what it said.
        status: completed, incomplete (cut at the longest) or cancelled (the client went away).
        read: tokens of all that was said before the reply.
        said: tokens of the reply.
        asked_for: the request's settings, as its answer tells them.
        created_at: seconds since 1970.
        completed_at: seconds since 1970.
    """

    id: str
    chat: str
    previous: str | None
    model: str
    made_by: bytes
    key: bytes
    messages: int
    bytes: int
    input: str
    output: str
    status: str
    read: int
    said: int
    asked_for: dict[str, Any]
    created_at: float
    completed_at: float


_SEQUENCE: ColumnElement[int] = literal_column("responses.rowid")
"""Grows with each response that is kept, also where the clock goes back."""

_RECORD = [responses.c[name] for name in Record._fields]


class Records:
    """Responses and feedback, in the store of the conversations. Every look-up names an owner.

    Args:
        store: where the messages are.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def add(
        self,
        connection: Connection,
        owner: str,
        record: Record,
        messages: Sequence[tuple[Node, bytes | None]],
    ) -> None:
        """Keep a response, and its messages with the states that are known."""
        for node, state in messages:
            self.store.put(connection, owner, node, state)
        self.store.hold(connection, owner, record.id, record.key)
        connection.execute(insert(responses).values(owner=owner, **record._asdict()))

    def get(self, connection: Connection, owner: str, response_id: str) -> Record | None:
        found = connection.execute(
            select(*_RECORD).where(responses.c.id == response_id, responses.c.owner == owner)
        ).first()
        return None if found is None else Record(*found)

    def chat(self, connection: Connection, owner: str, chat: str) -> list[Record]:
        """All responses of a conversation, the first one first."""
        found = connection.execute(
            select(*_RECORD)
            .where(responses.c.chat == chat, responses.c.owner == owner)
            .order_by(_SEQUENCE)
        )
        return [Record(*row) for row in found]

    def chats(
        self, connection: Connection, owner: str, limit: int | None, after: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """The conversations, the latest first, and whether there are more.

        Args:
            connection: of the store.
            owner: whose.
            limit: how many at most; None: all.
            after: the chat before them in the list, if any.
        """
        grouped = (
            select(
                responses.c.chat,
                func.min(responses.c.created_at).label("created_at"),
                func.max(responses.c.completed_at).label("updated_at"),
                func.max(responses.c.messages).label("messages"),
                func.max(_SEQUENCE).label("last"),
            )
            .where(responses.c.owner == owner)
            .group_by(responses.c.chat)
            .subquery()
        )
        query = select(grouped).order_by(grouped.c.last.desc())
        if after is not None:
            at = select(grouped.c.last).where(grouped.c.chat == after).scalar_subquery()
            query = query.where(grouped.c.last < at)
        rows = list(connection.execute(query if limit is None else query.limit(limit + 1)))
        found = []
        for chat, created, latest, messages, _ in rows[:limit]:
            first = connection.execute(
                select(responses.c.input, responses.c.model)
                .where(responses.c.owner == owner, responses.c.chat == chat)
                .order_by(_SEQUENCE)
                .limit(1)
            ).one()
            found.append(
                {
                    "id": chat,
                    "title": title(first.input),
                    "model": first.model,
                    "created_at": int(created),
                    "updated_at": int(latest),
                    "messages": messages,
                }
            )
        return found, limit is not None and len(rows) > limit

    def delete(self, connection: Connection, owner: str, ids: Sequence[str]) -> None:
        """Forget responses, what was thought of them, and the messages that nobody else holds."""
        for response_id in ids:
            mine = (responses.c.owner == owner) & (responses.c.id == response_id)
            connection.execute(delete(responses).where(mine))
            rated = (feedback.c.owner == owner) & (feedback.c.response_id == response_id)
            connection.execute(delete(feedback).where(rated))
            self.store.let_go(connection, owner, response_id)

    def rate(
        self,
        connection: Connection,
        owner: str,
        response_id: str,
        rating: str | None,
        instead: str | None,
        now: float,
    ) -> None:
        """Keep what somebody thought of a reply; nothing at all takes it back."""
        mine = (feedback.c.owner == owner) & (feedback.c.response_id == response_id)
        connection.execute(delete(feedback).where(mine))
        if rating is not None or instead is not None:
            values = {"rating": rating, "instead": instead, "created_at": now}
            connection.execute(
                insert(feedback).values(owner=owner, response_id=response_id, **values)
            )

    def feedback(self, connection: Connection, owner: str) -> Iterator[dict[str, Any]]:
        """Everything that was thought, each with the conversation that led to it."""
        query = (
            select(feedback, responses.c.key, responses.c.model, responses.c.output)
            .join(
                responses,
                (responses.c.id == feedback.c.response_id)
                & (responses.c.owner == feedback.c.owner),
            )
            .where(feedback.c.owner == owner)
            .order_by(literal_column("feedback.rowid"))
        )
        for row in list(connection.execute(query)):
            path = self.store.path(connection, owner, row.key)
            if path and path[-1].role == "bot":
                path = path[:-1]
            yield {
                "response_id": row.response_id,
                "model": row.model,
                "created_at": int(row.created_at),
                "rating": row.rating,
                "instead": row.instead,
                "messages": [{"role": wire_role(node.role), "content": node.text} for node in path],
                "output": row.output,
            }


def title(text: str) -> str:
    """The first words of what was said, at most 80 characters."""
    words = " ".join(text.split())
    if len(words) <= 80:
        return words
    return words[:79].rsplit(" ", 1)[0] + "…"


def wire_role(role: str) -> str:
    return "assistant" if role == "bot" else role


class Keeper:
    """Writes to the store in a thread of its own, whatever waits in one transaction.

    A disk syncs as fast for one reply as for thirty.

    Args:
        store: where to.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Writing | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="elman keeper", daemon=True)
        self._thread.start()

    async def write(self, write: Callable[[Connection], None]) -> None:
        """Wait until something is on disk.

        Raises:
            ElmanError: where it could not be written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell(error: Exception | None) -> None:
            def settle() -> None:
                if done.done():
                    return
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

            loop.call_soon_threadsafe(settle)

        self._queue.put(_Writing(write, tell))
        # What was begun is finished, even if whoever waits goes away.
        await asyncio.shield(done)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, closing = self._batch()
            if batch:
                self._write(batch)
            if closing:
                return

    def _batch(self) -> "tuple[list[_Writing], bool]":
        """All that waits, once something does; and whether it was the last."""
        batch = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, batch: "Sequence[_Writing]") -> None:
        try:
            with self._store.writing() as connection:
                for each in batch:
                    each.write(connection)
        except Exception as error:
            if len(batch) > 1:  # one that cannot be written must not take the others with it
                for each in batch:
                    self._write([each])
                return
            known = isinstance(error, ElmanError)
            batch[0].tell(error if known else ElmanError(f"cannot be kept: {error}"))
            return
        for each in batch:
            each.tell(None)


class _Writing(NamedTuple):
    write: Callable[[Connection], None]
    tell: Callable[[Exception | None], None]
