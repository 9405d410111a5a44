"""What the server keeps beside the messages: responses, and what people thought of them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from elman.chat.database import Connection, scalars
from elman.chat.memory import MemoryStore
from elman.serve.http.errors import no_such

MAX_TITLE_CHARACTERS = 80
"""Of a conversation's title."""


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


_COLUMNS = ", ".join({"fingerprint": "made_by"}.get(name, name) for name in StoredResponse._fields)


def _stored(row: Sequence[Any]) -> StoredResponse:
    found = StoredResponse(*row)
    return found._replace(asked_for=json.loads(str(found.asked_for)))


_NO_FEEDBACK = "DELETE FROM feedback WHERE owner = :owner AND response_id = :id"


class ResponseStore:
    """Responses and feedback, in the store of the conversations. Every look-up names an owner."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def add(self, connection: Connection, owner: str, response: StoredResponse) -> None:
        """Keep a response, and the messages up to it, which are in the store already."""
        self.store.hold(connection, owner, response.id, response.key)
        values = response._asdict() | {
            "owner": owner,
            "asked_for": json.dumps(response.asked_for),
        }
        names = ", ".join(f":{name}" for name in StoredResponse._fields)
        connection.execute(
            f"INSERT INTO responses (owner, {_COLUMNS}) VALUES (:owner, {names})", values
        )

    def get(self, connection: Connection, owner: str, response_id: str) -> StoredResponse:
        """Return a response.

        Raises:
            ApiError: where this owner has none of that id.
        """
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM responses WHERE id = :id AND owner = :owner",
            {"id": response_id, "owner": owner},
        ).fetchone()
        if found is None:
            raise no_such("response", response_id)
        return _stored(found)

    def chat(self, connection: Connection, owner: str, chat: str) -> list[StoredResponse]:
        """Return all responses of a conversation, the first one first.

        Raises:
            ApiError: where this owner has no such conversation.
        """
        # Unlike the clock, the number of a row never goes back.
        rows = connection.execute(
            f"""SELECT {_COLUMNS} FROM responses WHERE chat = :chat AND owner = :owner
            ORDER BY rowid""",
            {"chat": chat, "owner": owner},
        )
        found = [_stored(row) for row in rows]
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
        chats = """WITH chats AS (
                SELECT chat, min(created_at) AS created_at, max(completed_at) AS updated_at,
                    max(messages) AS messages, min(rowid) AS first, max(rowid) AS last
                FROM responses WHERE owner = :owner GROUP BY chat
            ) SELECT chats.chat, input, model, chats.created_at, updated_at, chats.messages
            FROM chats JOIN responses ON responses.rowid = chats.first"""
        before = " WHERE last < (SELECT last FROM chats WHERE chat = :after)"
        query = f"{chats}{'' if after is None else before} ORDER BY last DESC"
        values = {"owner": owner, "after": after, "limit": limit}
        if limit is not None:
            query, values["limit"] = f"{query} LIMIT :limit", limit + 1
        rows = connection.execute(query, values).fetchall()
        found = [
            {
                "id": chat,
                "title": title(first),
                "model": model,
                "created_at": int(created_at),
                "updated_at": int(updated_at),
                "messages": messages,
            }
            for chat, first, model, created_at, updated_at, messages in rows[:limit]
        ]
        return found, limit is not None and len(rows) > limit

    def delete(self, connection: Connection, owner: str, ids: Sequence[str]) -> None:
        """Forget responses, what was thought of them, and the messages that nobody else holds."""
        for response_id in ids:
            mine = {"owner": owner, "id": response_id}
            connection.execute("DELETE FROM responses WHERE owner = :owner AND id = :id", mine)
            connection.execute(_NO_FEEDBACK, mine)
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
        values = {
            "owner": owner, "id": response_id, "rating": rating, "instead": instead, "now": now,
        }  # fmt: skip
        connection.execute(_NO_FEEDBACK, values)
        if rating is not None or instead is not None:
            connection.execute(
                """INSERT INTO feedback (owner, response_id, rating, instead, created_at)
                VALUES (:owner, :id, :rating, :instead, :now)""",
                values,
            )

    def raters(self, connection: Connection) -> list[str]:
        """Return the owners who thought something of replies."""
        return scalars(connection.execute("SELECT DISTINCT owner FROM feedback ORDER BY owner"))

    def feedback(self, connection: Connection, owner: str) -> Iterator[dict[str, Any]]:
        """Yield everything that was thought, each with the conversation that led to it."""
        rows = connection.execute(
            """SELECT response_id, model, feedback.created_at, rating, instead, key, output
            FROM feedback JOIN responses
                ON responses.id = feedback.response_id AND responses.owner = feedback.owner
            WHERE feedback.owner = :owner ORDER BY feedback.rowid""",
            {"owner": owner},
        )
        for response_id, model, created_at, rating, instead, key, output in rows.fetchall():
            path = self.store.path(connection, owner, key)
            if path and path[-1].role == "bot":
                path = path[:-1]
            yield {
                "response_id": response_id,
                "model": model,
                "created_at": int(created_at),
                "rating": rating,
                "instead": instead,
                "messages": [
                    {"role": "assistant" if node.role == "bot" else node.role, "content": node.text}
                    for node in path
                ],
                "output": output,
            }


def title(text: str) -> str:
    """Return the first words of what was said."""
    words = " ".join(text.split())
    if len(words) <= MAX_TITLE_CHARACTERS:
        return words
    return words[: MAX_TITLE_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"
