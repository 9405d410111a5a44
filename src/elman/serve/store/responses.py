"""What the server keeps beside the messages: responses, and what people thought of them."""

from collections.abc import Iterator, Sequence
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
from elman.chat.memory import MemoryStore
from elman.serve.http.errors import no_such

MAX_TITLE_CHARACTERS = 80
"""Of a conversation's title."""

responses = Table(
    "responses",
    TABLES,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("chat", String, nullable=False),
    Column("previous", String),
    Column("model", String, nullable=False),
    # Stores of earlier releases have a column of this name, and are opened as they are.
    Column("made_by", LargeBinary, key="fingerprint", nullable=False),
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


class StoredResponse(NamedTuple):
    """One response as the store has it. Times are in seconds since 1970.

    Args:
        id: begins with resp_.
        chat: the id of the first response of its conversation.
        previous: the response that it goes on from, if any.
        fingerprint: the digest of what made its states.
        key: of its last message, in the store.
        messages: how many the bot had read and said with it.
        bytes: of the state.
        status: completed, incomplete (cut at the longest) or cancelled (the client went away).
        read: tokens of all that was said before the reply.
        said: tokens of the reply.
        asked_for: the request's settings, as its answer tells them.
    """

    id: str
    chat: str
    previous: str | None
    model: str
    fingerprint: bytes
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

_RESPONSE = [responses.c[name] for name in StoredResponse._fields]


class ResponseStore:
    """Responses and feedback, in the store of the conversations. Every look-up names an owner."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def add(self, connection: Connection, owner: str, response: StoredResponse) -> None:
        """Keep a response, and the messages up to it, which are in the store already."""
        self.store.hold(connection, owner, response.id, response.key)
        connection.execute(insert(responses).values(owner=owner, **response._asdict()))

    def get(self, connection: Connection, owner: str, response_id: str) -> StoredResponse:
        """Return a response.

        Raises:
            ApiError: where this owner has none of that id.
        """
        mine = (responses.c.id == response_id) & (responses.c.owner == owner)
        found = connection.execute(select(*_RESPONSE).where(mine)).first()
        if found is None:
            raise no_such("response", response_id)
        return StoredResponse(*found)

    def chat(self, connection: Connection, owner: str, chat: str) -> list[StoredResponse]:
        """Return all responses of a conversation, the first one first.

        Raises:
            ApiError: where this owner has no such conversation.
        """
        mine = (responses.c.chat == chat) & (responses.c.owner == owner)
        query = select(*_RESPONSE).where(mine).order_by(_SEQUENCE)
        found = [StoredResponse(*row) for row in connection.execute(query)]
        if not found:
            raise no_such("chat", chat)
        return found

    def chats(
        self, connection: Connection, owner: str, limit: int | None, after: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the conversations, the latest first, and whether there are more.

        Args:
            limit: how many at most; None: all.
            after: the chat before them in the list, if any.
        """
        grouped = (
            select(
                responses.c.chat,
                func.min(responses.c.created_at).label("created_at"),
                func.max(responses.c.completed_at).label("updated_at"),
                func.max(responses.c.messages).label("messages"),
                func.min(_SEQUENCE).label("first"),
                func.max(_SEQUENCE).label("last"),
            )
            .where(responses.c.owner == owner)
            .group_by(responses.c.chat)
            .subquery()
        )
        query = (
            select(grouped, responses.c.input, responses.c.model)
            .select_from(grouped)
            .join(responses, grouped.c.first == _SEQUENCE)
            .order_by(grouped.c.last.desc())
        )
        if after is not None:
            at = select(grouped.c.last).where(grouped.c.chat == after).scalar_subquery()
            query = query.where(grouped.c.last < at)
        rows = list(connection.execute(query if limit is None else query.limit(limit + 1)))
        found = [
            {
                "id": row.chat,
                "title": title(row.input),
                "model": row.model,
                "created_at": int(row.created_at),
                "updated_at": int(row.updated_at),
                "messages": row.messages,
            }
            for row in rows[:limit]
        ]
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
        """Yield everything that was thought, each with the conversation that led to it."""
        same = (responses.c.id == feedback.c.response_id) & (responses.c.owner == feedback.c.owner)
        query = (
            select(feedback, responses.c.key, responses.c.model, responses.c.output)
            .join(responses, same)
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
                "messages": [
                    {"role": "assistant" if node.role == "bot" else node.role, "content": node.text}
                    for node in path
                ],
                "output": row.output,
            }


def title(text: str) -> str:
    """Return the first words of what was said."""
    words = " ".join(text.split())
    if len(words) <= MAX_TITLE_CHARACTERS:
        return words
    return words[: MAX_TITLE_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"
