"""Elman's own routes: conversations as trees of responses, and what people thought of replies."""

import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection
from starlette.responses import Response

from elman.serve.access import Owner
from elman.serve.errors import ApiError, no_such
from elman.serve.records import Record
from elman.serve.response_bodies import Deleted, State
from elman.serve.routes import ERRORS, Id, service_of
from elman.serve.wire import whole_text

router = APIRouter(prefix="/v1", responses=ERRORS)


class ChatSummary(BaseModel):
    """A conversation; its id is that of its first response."""

    id: str
    title: str = Field(description="The first words that were said, at most 80 characters.")
    model: str
    created_at: int
    updated_at: int
    messages: int = Field(description="Of its longest branch.")


class ChatList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ChatSummary]
    has_more: bool


class ChatResponse(BaseModel):
    id: str
    previous_response_id: str | None
    input: str
    output: str
    created_at: int
    status: Literal["completed", "incomplete", "cancelled"]
    state: State


class ChatTree(BaseModel):
    """All branches of a conversation: responses, each with the one that it goes on from."""

    id: str
    model: str
    responses: list[ChatResponse]


class FeedbackRequest(BaseModel):
    """What somebody thought of a reply. Both null takes it back."""

    model_config = ConfigDict(extra="ignore", strict=True)

    response_id: str = Field(max_length=200)
    rating: Literal["up", "down"] | None = None
    instead: str | None = Field(None, description="What the bot should have said.")
    consent: bool = Field(False, description="Must be true: kept to learn from, until deleted.")

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        return whole_text(given)


class Feedback(BaseModel):
    object: Literal["feedback"] = "feedback"
    response_id: str
    rating: Literal["up", "down"] | None
    instead: str | None
    created_at: int


@router.get("/chats")
async def chats(
    request: Request,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> ChatList:
    """The conversations, the latest first."""
    service = service_of(request)

    def look_up() -> tuple[list[dict[str, Any]], bool]:
        with service.store.reading() as connection:
            if after is not None and not service.records.chat(connection, owner, after):
                raise no_such("chat", after)
            return service.records.chats(connection, owner, limit, after)

    found, more = await service.workers.do(owner, look_up)
    return ChatList(data=[ChatSummary.model_validate(each) for each in found], has_more=more)


@router.get("/chats/{chat_id}")
async def chat(request: Request, owner: Owner, chat_id: Id) -> ChatTree:
    """One conversation with all its branches."""
    service = service_of(request)

    def look_up() -> list[Record]:
        with service.store.reading() as connection:
            return service.records.chat(connection, owner, chat_id)

    records = await service.workers.do(owner, look_up)
    if not records:
        raise no_such("chat", chat_id)
    there = {record.id for record in records}
    return ChatTree(
        id=chat_id,
        model=records[0].model,
        responses=[
            ChatResponse(
                id=record.id,
                previous_response_id=record.previous if record.previous in there else None,
                input=record.input,
                output=record.output,
                created_at=int(record.created_at),
                status=record.status,
                state=State(bytes=record.bytes, messages=record.messages),
            )
            for record in records
        ],
    )


@router.delete("/chats/{chat_id}")
async def delete_chat(request: Request, owner: Owner, chat_id: Id) -> Deleted:
    """Forget a conversation with all its branches, and what was thought of them."""
    service = service_of(request)

    def forget(connection: Connection) -> None:
        records = service.records.chat(connection, owner, chat_id)
        if not records:
            raise no_such("chat", chat_id)
        service.records.delete(connection, owner, [record.id for record in records])

    await service.workers.do(owner, lambda: service.store.freeing(forget))
    return Deleted(id=chat_id, object="chat")


@router.post("/feedback", status_code=201)
async def give_feedback(request: Request, owner: Owner, body: FeedbackRequest) -> Feedback:
    """Keep what somebody thought of a reply, in the place of what they thought before."""
    if not body.consent:
        raise ApiError(
            400, 'without consent nothing is kept: send "consent": true', "consent", "no_consent"
        )
    service, now = service_of(request), time.time()
    response_id, rating, instead = body.response_id, body.rating, body.instead

    def rate(connection: Connection) -> None:
        if service.records.get(connection, owner, response_id) is None:
            raise no_such("response", response_id)
        service.records.rate(connection, owner, response_id, rating, instead, now)

    # It may take back what was given.
    await service.workers.do(owner, lambda: service.store.freeing(rate))
    return Feedback(response_id=response_id, rating=rating, instead=instead, created_at=int(now))


@router.get(
    "/feedback",
    response_class=Response,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
)
async def all_feedback(request: Request, owner: Owner) -> Response:
    """All of it, as JSON Lines: each with the conversation that led to the reply."""
    service = service_of(request)

    def look_up() -> str:
        with service.store.reading() as connection:
            found = service.records.feedback(connection, owner)
            return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in found)

    text = await service.workers.do(owner, look_up)
    return Response(text, media_type="application/jsonl")
