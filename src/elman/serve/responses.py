"""/v1/responses: the server remembers; `previous_response_id` goes on, twice from one is a fork."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from elman.serve.answering import TokenLogprob, token_logprob, told
from elman.serve.errors import ApiError, no_such
from elman.serve.jobs import Ended, Read, Said
from elman.serve.prompts import Turn
from elman.serve.records import Record
from elman.serve.response_bodies import (
    ElmanFacts,
    Incomplete,
    OutputMessage,
    OutputText,
    ResponseError,
    ResponseObject,
    ResponsesRequest,
    ResponsesUsage,
    State,
)
from elman.serve.service import Service
from elman.serve.wire import ROLES, joined, refuse, sse, text_of

LOGPROBS = "message.output_text.logprobs"
"""What `include` says where likelihoods are wanted."""


def turns_of(body: ResponsesRequest) -> list[Turn]:
    """The new messages of a request.

    Raises:
        ApiError: where there is anything but text.
    """
    turns = [] if body.instructions is None else [Turn("system", body.instructions)]
    if isinstance(body.input, str):
        return joined([*turns, Turn("user", body.input)])
    for number, item in enumerate(body.input):
        param = f"input[{number}]"
        if item.type not in (None, "message") or item.role not in ROLES:
            what = item.type if item.type not in (None, "message") else f"role {item.role!r}"
            raise ApiError(400, f"this bot reads messages, and no {what}", param, "unsupported")
        turns.append(Turn(ROLES[item.role], text_of(item.content, f"{param}.content")))
    return joined(turns)


class Responding:
    """One request to /v1/responses; made beside the event loop, started in it."""

    def __init__(self, service: Service, owner: str, body: ResponsesRequest) -> None:
        given = body.model_dump(include={"tools", "background", "conversation", "prompt"})
        refuse(given, list(given))
        self._check_text(body.text)
        self._service, self._owner, self._body = service, owner, body
        self.model = service.model(body.model)
        service.check_room(self.model, owner, 1)
        turns = turns_of(body)
        self.input = "\n".join(turn.text for turn in turns if turn.role == "user")
        self.prompt = service.prompts.from_response(
            self.model, owner, body.previous_response_id, turns
        )
        self.id = f"resp_{secrets.token_hex(16)}"
        self._chat = self._chat_of(body)
        self.item = f"msg_{self.id[5:]}"
        self.created = time.time()
        wants = LOGPROBS in (body.include or ()) or bool(body.top_logprobs)
        params = body.sampling_params(
            body.max_output_tokens, logprobs=(body.top_logprobs or 0) if wants else None
        )
        self._settings = {
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "presence_penalty": params.presence_penalty,
            "frequency_penalty": params.frequency_penalty,
            "top_logprobs": body.top_logprobs or 0,
            "store": body.store is not False,
            "user": body.user,
            "metadata": body.metadata or {},
        }
        self.reply = service.reply(self.prompt, params)
        self._asked: Any = None
        self._text = ""
        self._logprobs: list[TokenLogprob] = []

    def start(self) -> None:
        """Ask for the reply.

        Raises:
            ApiError: where too many wait.
        """
        self._service.submit(self.reply)

    def _chat_of(self, body: ResponsesRequest) -> str:
        """The conversation that the response belongs to.

        Raises:
            ApiError: where it is to be beside what the owner does not have.
        """
        if self.prompt.before is not None:
            return self.prompt.before.chat
        beside = None if body.elman is None else body.elman.beside
        if beside is None:
            return self.id
        with self._service.store.reading() as connection:
            record = self._service.records.get(connection, self._owner, beside)
        if record is None:
            raise no_such("response", beside)
        return record.chat

    @staticmethod
    def _check_text(text: Any) -> None:
        kind = text.get("format") if isinstance(text, dict) else text
        if kind is not None and (not isinstance(kind, dict) or kind.get("type") != "text"):
            raise ApiError(
                400, "this bot says what it says: of text.format only text", "text.format",
                "unsupported",
            )  # fmt: skip

    async def whole(self) -> dict[str, Any]:
        """The response, when it is on disk."""
        async for event in self._events():
            if isinstance(event, Ended):
                return (await self._end(event)).model_dump()
        raise AssertionError("a reply ends")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The events of the stream; the last one when the response is on disk."""
        begun = self._begun().model_dump()
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        item = OutputMessage(id=self.item, status="in_progress", content=[])
        yield self._event("response.output_item.added", output_index=0, item=item.model_dump())
        at = {"item_id": self.item, "output_index": 0, "content_index": 0}
        part = OutputText(text="").model_dump()
        yield self._event("response.content_part.added", **at, part=part)
        async for event in self._events():
            if event.text or (isinstance(event, Said) and event.logprob is not None):
                own = isinstance(event, Said) and event.logprob is not None
                logprobs = [self._logprobs[-1].model_dump()] if own else []
                yield self._event(
                    "response.output_text.delta", **at, delta=event.text, logprobs=logprobs
                )
            if not isinstance(event, Ended):
                continue
            ended = await self._end(event)
            [item] = ended.output
            [whole] = item.content
            done = whole.model_dump()
            yield self._event(
                "response.output_text.done", **at, text=self._text, logprobs=done["logprobs"]
            )
            yield self._event("response.content_part.done", **at, part=done)
            yield self._event("response.output_item.done", output_index=0, item=item.model_dump())
            kind = "completed" if ended.status == "completed" else "incomplete"
            yield self._event(f"response.{kind}", response=ended.model_dump())

    def _keep_asked(self, read: Read) -> None:
        self._asked = read.state

    async def _events(self) -> AsyncIterator[Said | Ended]:
        async for event in told(self._service, self.reply, self._keep_asked):
            self._text += event.text
            if isinstance(event, Said) and event.logprob is not None:
                self._logprobs.append(token_logprob(self.model, event))
            yield event

    async def _end(self, event: Ended) -> ResponseObject:
        """Keep the response, and tell it."""
        node = self._service.remember(self.prompt, event, self._text)
        assert node is not None
        status = {"stop": "completed", "length": "incomplete", "cancelled": "cancelled"}
        record = Record(
            id=self.id,
            chat=self._chat,
            previous=self._body.previous_response_id,
            model=self.model.name,
            made_by=self.model.made_by,
            key=node.key,
            messages=node.depth,
            bytes=sum(tensor.nbytes for tensor in event.state),
            input=self.input,
            output=self._text,
            status=status[event.reason],
            read=self.prompt.tokens,
            said=len(event.said),
            asked_for=self._settings,
            created_at=self.created,
            completed_at=time.time(),
        )
        if self._settings["store"]:
            await self._service.keep(self.prompt, record, node, self._asked, event.state)
        return response_of(record, self.prompt.known, self._logprobs)

    def _begun(self) -> ResponseObject:
        record = Record(
            id=self.id,
            chat=self.id,
            previous=self._body.previous_response_id,
            model=self.model.name,
            made_by=b"",
            key=b"",
            messages=self.prompt.new[-1].depth,
            bytes=sum(tensor.nbytes for tensor in self.prompt.state),
            input=self.input,
            output="",
            status="in_progress",
            read=0,
            said=0,
            asked_for=self._settings,
            created_at=self.created,
            completed_at=0,
        )
        return response_of(record).model_copy(
            update={"output": [], "usage": None, "completed_at": None}
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._number
        self._number += 1
        return sse({"type": kind, "sequence_number": number, **fields}, kind)

    _number = 0

    def failed(self, error: ApiError) -> bytes:
        """The last event, where the response could not be made or kept."""
        failed = self._begun().model_copy(
            update={
                "status": "failed",
                "error": ResponseError(code="server_error", message=error.message),
            }
        )
        return self._event("response.failed", response=failed.model_dump())


def response_of(
    record: Record, known: int = 0, logprobs: list[TokenLogprob] | None = None
) -> ResponseObject:
    """The response of a record."""
    cut = record.status == "incomplete"
    message = OutputMessage(
        id=f"msg_{record.id[5:]}",
        status="completed" if record.status == "completed" else "incomplete",
        content=[OutputText(text=record.output, logprobs=logprobs or [])],
    )
    return ResponseObject(
        id=record.id,
        created_at=int(record.created_at),
        completed_at=int(record.completed_at) if record.status == "completed" else None,
        status=record.status,
        incomplete_details=Incomplete(reason="max_output_tokens") if cut else None,
        model=record.model,
        output=[message],
        previous_response_id=record.previous,
        usage=ResponsesUsage(
            input_tokens=record.read,
            input_tokens_details=ResponsesUsage.Input(cached_tokens=known),
            output_tokens=record.said,
            output_tokens_details=ResponsesUsage.Output(),
            total_tokens=record.read + record.said,
        ),
        elman=ElmanFacts(state=State(bytes=record.bytes, messages=record.messages)),
        **record.asked_for,
    )
