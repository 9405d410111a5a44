"""Elman's own routes: conversations as trees of responses, and what people thought of replies."""

import json
import logging
import time
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from elman.chat.database import Connection
from elman.chat.memory import LOCAL
from elman.errors import ElmanError
from elman.model.folder import is_built_in
from elman.serve.api.requests import Body
from elman.serve.api.responses import Id
from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS, ApiError
from elman.serve.render.response_bodies import Deleted, StateSummary
from elman.serve.service import Served, Service
from elman.serve.store.responses import StoredResponse

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
    state: StateSummary


class ChatTree(BaseModel):
    """All branches of a conversation: responses, each with the one that it goes on from."""

    id: str
    model: str
    responses: list[ChatResponse]


class FeedbackRequest(Body):
    """What somebody thought of a reply. Both null takes it back."""

    response_id: str = Field(max_length=200)
    rating: Literal["up", "down"] | None = None
    instead: str | None = Field(None, description="What the bot should have said.")
    consent: bool = Field(False, description="Must be true: kept to learn from, until deleted.")


class Feedback(BaseModel):
    object: Literal["feedback"] = "feedback"
    response_id: str
    rating: Literal["up", "down"] | None
    instead: str | None
    created_at: int
    taught: bool = Field(
        False, description="Whether the bot answers the same message so from now on."
    )


@router.get("/chats")
async def chats(
    service: Served,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> ChatList:
    """The conversations, the latest first."""

    def look_up(connection: Connection) -> tuple[list[dict[str, Any]], bool]:
        if after is not None:
            service.responses.chat(connection, owner, after)
        return service.responses.chats(connection, owner, limit, after)

    found, more = await service.read(owner, look_up)
    return ChatList(data=[ChatSummary.model_validate(each) for each in found], has_more=more)


@router.get("/chats/{chat_id}")
async def chat(service: Served, owner: Owner, chat_id: Id) -> ChatTree:
    """One conversation with all its branches."""
    found = await service.read(owner, lambda c: service.responses.chat(c, owner, chat_id))
    there = {response.id for response in found}
    return ChatTree(
        id=chat_id,
        model=found[0].model,
        responses=[
            ChatResponse(
                id=each.id,
                previous_response_id=each.previous if each.previous in there else None,
                input=each.input,
                output=each.output,
                created_at=int(each.created_at),
                status=each.status,
                state=StateSummary(bytes=each.bytes, messages=each.messages),
            )
            for each in found
        ],
    )


@router.delete("/chats/{chat_id}")
async def delete_chat(service: Served, owner: Owner, chat_id: Id) -> Deleted:
    """Forget a conversation with all its branches, and what was thought of them."""

    def forget(connection: Connection) -> None:
        found = service.responses.chat(connection, owner, chat_id)
        service.responses.delete(connection, owner, [each.id for each in found])

    await service.free(owner, forget)
    return Deleted(id=chat_id, object="chat")


@router.post("/feedback", status_code=201)
async def give_feedback(service: Served, owner: Owner, body: FeedbackRequest) -> Feedback:
    """Keep what somebody thought of a reply, in the place of what they thought before."""
    if not body.consent:
        raise ApiError(
            400, 'without consent nothing is kept: send "consent": true', "consent", "no_consent"
        )
    now = time.time()

    def rate(connection: Connection) -> StoredResponse:
        found = service.responses.get(connection, owner, body.response_id)
        service.responses.rate(connection, owner, body.response_id, body.rating, body.instead, now)
        return found

    response = await service.free(owner, rate)  # it may take back what was given
    taught = False
    if body.instead and owner == LOCAL:  # whom others believe is no stranger
        taught = await service.workers.do(owner, partial(_teach, service, response, body.instead))
    return Feedback(
        response_id=body.response_id,
        rating=body.rating,
        instead=body.instead,
        created_at=int(now),
        taught=taught,
    )


def _teach(service: Service, response: StoredResponse, instead: str) -> bool:
    """Let a bot give another answer to the same message from now on; tell whether it will."""
    model = service.models.get(response.model)
    if model is None or model.replier is None or is_built_in(model.bot.path):
        return False
    with service.store.reading() as connection:
        path = service.store.path(connection, LOCAL, response.key)
    asked = [node for node in path[-2:] if node.role == "user"]
    if not asked:
        return False
    try:
        model.replier.taught.teach(asked[-1].text, instead)
    except ElmanError as error:  # too long, or a full disk: it is kept as feedback all the same
        logging.getLogger("elman").warning("%s", error)
        return False
    return True


@router.get(
    "/feedback",
    response_class=Response,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
)
async def all_feedback(service: Served, owner: Owner) -> Response:
    """All of it, as JSON Lines: each with the conversation that led to the reply."""

    def look_up(connection: Connection) -> str:
        found = service.responses.feedback(connection, owner)
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in found)

    return Response(await service.read(owner, look_up), media_type="application/jsonl")
