"""How a response is told, whole or as it comes."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from elman.chat.database import Connection, UnavailableError
from elman.errors import ElmanError
from elman.serve.http.errors import ApiError
from elman.serve.http.stream import sse
from elman.serve.jobs import Ended
from elman.serve.prompts import Prompt
from elman.serve.render.answers import ToldReplies
from elman.serve.render.response_bodies import (
    ElmanFacts,
    OutputMessage,
    OutputText,
    ResponseError,
    ResponseObject,
    StateSummary,
    message_id,
    response_of,
)
from elman.serve.service import Service
from elman.serve.store.responses import StoredResponse
from elman.serve.submission import Submission


class ResponseAnswer:
    """A reply in a conversation that is kept, as it is told.

    Args:
        chat: the conversation that it belongs to; None: it begins one.
        said: what was said to the bot.
        settings: of the request, as its answer tells them.
    """

    def __init__(
        self,
        service: Service,
        prompt: Prompt,
        submission: Submission,
        chat: str | None,
        said: str,
        settings: dict[str, Any],
    ) -> None:
        self._service, self._prompt, self._settings = service, prompt, settings
        self._replies, self.cancel = ToldReplies(service, prompt, submission), submission.cancel
        self._id, self._created = f"resp_{secrets.token_hex(16)}", time.time()
        self._chat, self._said = chat or self._id, said
        self._previous = None if prompt.before is None else prompt.before.id
        self._events_told = 0

    async def whole(self) -> ResponseObject:
        """Tell the response when it is on disk."""
        [end] = [event async for event in self._replies.events() if isinstance(event, Ended)]
        return await self._keep(end)

    async def stream(self) -> AsyncIterator[bytes]:
        """Tell the events of the reply; the last one when the response is on disk."""
        begun = self._begun("in_progress").model_dump()
        yield self._event("created", response=begun)
        yield self._event("in_progress", response=begun)
        item = OutputMessage(id=message_id(self._id), status="in_progress", content=[])
        yield self._event("output_item.added", output_index=0, item=item.model_dump())
        at = {"item_id": item.id, "output_index": 0, "content_index": 0}
        part = OutputText(text="").model_dump()
        yield self._event("content_part.added", **at, part=part)
        async for event in self._replies.events():
            likely = event.logprob is not None and not isinstance(event, Ended)
            if event.text or likely:
                [logprobs] = self._replies.logprobs
                last = [logprobs[-1].model_dump()] if likely else []
                yield self._event("output_text.delta", **at, delta=event.text, logprobs=last)
            if not isinstance(event, Ended):
                continue
            ended = await self._keep(event)
            [item] = ended.output
            part = item.content[0].model_dump()
            yield self._event(
                "output_text.done", **at, text=part["text"], logprobs=part["logprobs"]
            )
            yield self._event("content_part.done", **at, part=part)
            yield self._event("output_item.done", output_index=0, item=item.model_dump())
            kind = "completed" if ended.status == "completed" else "incomplete"
            yield self._event(kind, response=ended.model_dump())

    def failed(self, error: ApiError) -> bytes:
        """Return the last event, where the response could not be made or kept."""
        failed = self._begun("failed")
        failed.error = ResponseError(code="server_error", message=error.message)
        return self._event("failed", response=failed.model_dump())

    def _event(self, kind: str, **fields: Any) -> bytes:
        kind, number = f"response.{kind}", self._events_told
        self._events_told += 1
        return sse({"type": kind, "sequence_number": number, **fields}, kind)

    def _begun(self, status: Literal["in_progress", "failed"]) -> ResponseObject:
        """Return the response before there is anything of it."""
        size = sum(tensor.nbytes for tensor in self._prompt.state)
        return ResponseObject(
            id=self._id,
            created_at=int(self._created),
            completed_at=None,
            status=status,
            model=self._prompt.model.name,
            output=[],
            previous_response_id=self._previous,
            usage=None,
            elman=ElmanFacts(state=StateSummary(bytes=size, messages=self._prompt.asked.depth)),
            **self._settings,
        )

    async def _keep(self, end: Ended) -> ResponseObject:
        """Put the response on disk, and return it.

        Raises:
            ApiError: where it cannot be kept.
        """
        replies, prompt, model = self._replies, self._prompt, self._prompt.model
        status = {"stop": "completed", "length": "incomplete", "cancelled": "cancelled"}
        response = StoredResponse(
            id=self._id,
            chat=self._chat,
            previous=self._previous,
            model=model.name,
            fingerprint=model.fingerprint,
            key=replies.node.key,
            messages=replies.node.depth,
            bytes=sum(tensor.nbytes for tensor in end.state),
            input=self._said,
            output=replies.texts[0],
            status=status[end.reason],
            read=prompt.tokens,
            said=len(end.said),
            asked_for=self._settings,
            created_at=self._created,
            completed_at=time.time(),
        )

        def write(connection: Connection) -> None:
            for node, state in prompt.kept_messages(replies.node, replies.asked, end.state):
                prompt.recall.put(connection, node, state)
            self._service.responses.add(connection, prompt.recall.owner, response)

        if self._settings["store"]:
            try:
                await self._service.keeper.write(write)
            except UnavailableError:
                raise
            except ElmanError as error:
                why = f"the reply could not be kept: {error}"
                raise ApiError(507, why, None, "not_stored") from None
        found = response_of(response, prompt.known, replies.logprobs[0])
        found.elman.origin, found.state = replies.origins[0], replies.states[0]
        return found
