"""OpenAI's routes."""

from collections.abc import Callable, Coroutine
from threading import Event
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from elman.serve.access import Owner
from elman.serve.chat_completions import Chat, ChatCompletion, ChatRequest
from elman.serve.completions import Completing, Completion, CompletionRequest
from elman.serve.errors import ApiError, ErrorResponse, no_such
from elman.serve.limits import RequestLimits
from elman.serve.prompts import Model
from elman.serve.records import Record
from elman.serve.response_bodies import Deleted, Influence, ResponseObject, ResponsesRequest
from elman.serve.responses import Responding, response_of
from elman.serve.service import Service
from elman.serve.stream import EventStream, unless_gone
from elman.serve.wire import sse

SENTENCE = {"model": ErrorResponse}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: SENTENCE, 401: SENTENCE, 403: SENTENCE, 404: SENTENCE, 413: SENTENCE, 429: SENTENCE,
    500: SENTENCE, 507: SENTENCE,
}  # fmt: skip
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}

T = TypeVar("T")

router = APIRouter(prefix="/v1", responses=ERRORS)

Id = Annotated[str, Path(max_length=200)]


class ModelFacts(BaseModel):
    """What only this server tells of a model."""

    state_bytes: int = Field(description="Size of its whole memory of a conversation.")
    limits: RequestLimits = RequestLimits()


class ModelObject(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["elman"] = "elman"
    elman: ModelFacts


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def _model(model: Model) -> ModelObject:
    size = sum(tensor.nbytes for tensor in model.bot.chatbot.initial_state(1))
    return ModelObject(id=model.name, created=model.created, elman=ModelFacts(state_bytes=size))


async def _answer(request: Request, answer: Coroutine[Any, Any, T], leave: Callable[[], None]) -> T:
    return await unless_gone(answer, request.receive, request.app.state.ending, leave)


def _late(error: ApiError) -> bytes:
    return sse(error.body.model_dump())


@router.get("/models")
async def models(request: Request, owner: Owner) -> ModelList:
    """The bots that are served."""
    return ModelList(data=[_model(each) for each in service_of(request).models.values()])


@router.get("/models/{model}")
async def one_model(request: Request, owner: Owner, model: Id) -> ModelObject:
    """One of them."""
    return _model(service_of(request).model(model))


@router.post("/chat/completions", response_model=ChatCompletion, responses=STREAM)
async def chat_completions(request: Request, owner: Owner, body: ChatRequest) -> Response:
    """A reply to a conversation that is told from its beginning."""
    service = service_of(request)
    chat = await service.workers.do(owner, lambda: Chat(service, owner, body))
    chat.start()
    if body.stream:
        return EventStream(chat.pieces(), _late, chat.reply.cancel)
    found = await _answer(request, chat.whole(), chat.reply.cancel)
    return JSONResponse(found)


@router.post("/completions", response_model=Completion, responses=STREAM)
async def completions(request: Request, owner: Owner, body: CompletionRequest) -> Response:
    """A message of the bot's that begins with the prompt."""
    service = service_of(request)
    completion = await service.workers.do(owner, lambda: Completing(service, owner, body))
    completion.start()
    if body.stream:
        return EventStream(completion.pieces(), _late, completion.cancel)
    found = await _answer(request, completion.whole(), completion.cancel)
    return JSONResponse(found)


@router.post("/responses", response_model=ResponseObject, responses=STREAM)
async def create_response(request: Request, owner: Owner, body: ResponsesRequest) -> Response:
    """A reply to something new in a conversation that the server remembers."""
    service = service_of(request)
    responding = await service.workers.do(owner, lambda: Responding(service, owner, body))
    responding.start()
    if body.stream:
        return EventStream(responding.pieces(), responding.failed, responding.reply.cancel)
    found = await _answer(request, responding.whole(), responding.reply.cancel)
    return JSONResponse(found)


async def kept_record(request: Request, owner: Owner, response_id: Id) -> Record:
    """The record of a response.

    Raises:
        ApiError: where this owner has none of that name.
    """
    service = service_of(request)

    def look_up() -> Record | None:
        with service.store.reading() as connection:
            return service.records.get(connection, owner, response_id)

    record = await service.workers.do(owner, look_up)
    if record is None:
        raise no_such("response", response_id)
    return record


@router.get("/responses/{response_id}")
async def get_response(
    request: Request,
    owner: Owner,
    record: Annotated[Record, Depends(kept_record)],
    why: bool = False,
) -> ResponseObject:
    """A response that was kept; with `why`, what each earlier message did for it."""
    found = response_of(record)
    if why:
        service, left = service_of(request), Event()
        model = service.model(record.model)
        memory = model.memory(service.store, owner)
        explaining = service.explainer.explain(model, memory, record, left)
        explained = await _answer(request, explaining, left.set)
        if explained is not None:
            found.elman.influence = [
                Influence(
                    message=each.message,
                    nats=each.nats,
                    gradient=each.gradient,
                    copied=each.copied,
                )
                for each in explained.receipts
            ]
            found.elman.influence_cut = explained.cut
    return found


@router.delete("/responses/{response_id}")
async def delete_response(request: Request, owner: Owner, response_id: Id) -> Deleted:
    """Forget a response. Those that go on from it keep what was said before them."""
    service = service_of(request)

    def forget(connection: Connection) -> None:
        if service.records.get(connection, owner, response_id) is None:
            raise no_such("response", response_id)
        service.records.delete(connection, owner, [response_id])

    await service.workers.do(owner, lambda: service.store.freeing(forget))
    return Deleted(id=response_id, object="response")
