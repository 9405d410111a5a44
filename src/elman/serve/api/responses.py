"""/v1/responses: the server remembers; `previous_response_id` goes on, twice from one is a fork."""

from functools import partial
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from elman.chat.database import Connection
from elman.data.conversation import Turn
from elman.serve.api.requests import (
    ROLE_OF,
    CarriedText,
    Content,
    Metadata,
    ReplyRequest,
    expected,
    joined,
    refuse,
    refuse_formats,
    text_of,
)
from elman.serve.carried import CARRY
from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS, ApiError, ErrorResponse
from elman.serve.http.stream import STREAMS, respond, unless_gone
from elman.serve.limits import LIMITS
from elman.serve.render.response import ResponseAnswer
from elman.serve.render.response_bodies import (
    Deleted,
    MessageAttribution,
    ResponseObject,
    response_of,
)
from elman.serve.service import Served, Service
from elman.serve.submission import Submission

INCLUDE_LOGPROBS = "message.output_text.logprobs"
"""What `include` says where likelihoods are wanted."""

router = APIRouter(prefix="/v1", responses=ERRORS)

Id = Annotated[str, Path(max_length=200)]


class InputItem(BaseModel):
    type: str | None = None
    role: str | None = None
    content: Content | None = None


class ElmanSettings(BaseModel):
    """What only this server can be asked for."""

    beside: str | None = Field(
        None,
        max_length=200,
        description="Of a response that goes on from none: another one, whose chat it belongs to, "
        "as another reply to the first message does.",
    )


class ResponsesRequest(ReplyRequest):
    input: Annotated[
        str
        | Annotated[
            list[InputItem],
            Field(min_length=1, max_length=LIMITS.max_messages, fail_fast=True),
        ],
        expected(f"text, or a list of 1 to {LIMITS.max_messages:,} messages"),
    ]
    instructions: str | None = None
    previous_response_id: str | None = Field(None, max_length=200)
    max_output_tokens: int | None = Field(None, ge=1)
    top_logprobs: int | None = Field(None, ge=0, le=LIMITS.max_top_logprobs)
    include: list[str] | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    tools: Any = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    text: Any = None
    elman: ElmanSettings | None = None
    state: CarriedText = None


@router.post("/responses", response_model=ResponseObject, responses=STREAMS)
async def create_response(
    request: Request, service: Served, owner: Owner, body: ResponsesRequest
) -> Response:
    """A reply to something new in a conversation that the server remembers."""
    parse(body)
    answer, reply = await service.workers.do(owner, partial(resolve, service, owner, body))
    reply.submit()
    return await respond(request, answer, body.stream)


def parse(body: ResponsesRequest) -> None:
    """Raise ApiError where this bot cannot do what is asked for."""
    refuse(body, "tools", "background", "conversation", "prompt")
    format_ = body.text.get("format") if isinstance(body.text, dict) else body.text
    refuse_formats(format_, "text.format")
    if body.state is not None and body.store:
        raise ApiError(400, "a chat whose state is carried is not stored: leave out store", "store")
    if body.state not in (None, CARRY) and body.previous_response_id is not None:
        raise ApiError(
            400, "a chat goes on from a state or from a response: leave out one of them", "state"
        )


def resolve(
    service: Service, owner: str, body: ResponsesRequest
) -> tuple[ResponseAnswer, Submission]:
    """Find the state that the conversation goes on from; prepare the reply.

    Raises:
        ApiError: where there is no such bot or response, or it cannot read what is new.
    """
    model = service.model_with_room(body.model, owner, 1)
    turns = turns_of(body)
    carried = service.carried(model, owner, body.state)
    if carried is None:
        prompt = service.prompts.from_response(model, owner, body.previous_response_id, turns)
    else:
        prompt = service.prompts.from_carried(model, owner, carried, turns)
    prompt.carries = body.state is not None
    before = prompt.before
    if before is None and body.elman is not None and body.elman.beside is not None:
        with service.store.reading() as connection:
            before = service.responses.get(connection, owner, body.elman.beside)
    with_logprobs = INCLUDE_LOGPROBS in (body.include or ()) or bool(body.top_logprobs)
    params = body.sampling_params(
        model, body.max_output_tokens, (body.top_logprobs or 0) if with_logprobs else None
    )
    reply = service.prepare(model, partial(prompt.job, params, 1), prompt.known)
    drawn = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
    settings = {
        **body.model_dump(include={"instructions", "max_output_tokens", "user"}),
        **params.model_dump(include=drawn),
        "top_logprobs": body.top_logprobs or 0,
        "store": body.store is not False and not prompt.carries,
        "metadata": body.metadata or {},
    }
    said = "\n".join(turn.text for turn in turns if turn.role == "user")
    chat = None if before is None else before.chat
    return ResponseAnswer(service, prompt, reply, chat, said, settings), reply


def turns_of(body: ResponsesRequest) -> list[Turn]:
    """Return the new messages of a request.

    Raises:
        ApiError: where there is anything but text.
    """
    turns = [] if body.instructions is None else [Turn("system", body.instructions)]
    if isinstance(body.input, str):
        return joined([*turns, Turn("user", body.input)])
    for number, item in enumerate(body.input):
        param = f"input[{number}]"
        if item.type not in (None, "message") or item.role not in ROLE_OF:
            what = item.type if item.type not in (None, "message") else f"role {item.role!r}"
            raise ApiError(400, f"this bot reads messages, and no {what}", param, "unsupported")
        turns.append(Turn(ROLE_OF[item.role], text_of(item.content, f"{param}.content")))
    return joined(turns)


@router.get("/responses/{response_id}", responses={501: {"model": ErrorResponse}})
async def get_response(
    request: Request, service: Served, owner: Owner, response_id: Id, why: bool = False
) -> ResponseObject:
    """A response that was kept; with `why`, what each earlier message did for it."""
    stored = await service.read(owner, lambda c: service.responses.get(c, owner, response_id))
    found = response_of(stored)
    if not why:
        return found
    model, left = service.model(stored.model), Event()
    explaining = service.attributor.explain(model, model.recall(service.store, owner), stored, left)
    ending = request.app.state.ending
    explained = await unless_gone(explaining, request.receive, ending, left.set)
    if explained is not None:
        told = [
            MessageAttribution.model_validate(each, from_attributes=True)
            for each in explained.messages
        ]
        found.elman.attribution, found.elman.attribution_cut = told, explained.cut
        found.elman.influence, found.elman.influence_cut = told, explained.cut
    return found


@router.delete("/responses/{response_id}")
async def delete_response(service: Served, owner: Owner, response_id: Id) -> Deleted:
    """Forget a response. Those that go on from it keep what was said before them."""

    def forget(connection: Connection) -> None:
        service.responses.get(connection, owner, response_id)
        service.responses.delete(connection, owner, [response_id])

    await service.free(owner, forget)
    return Deleted(id=response_id, object="response")
