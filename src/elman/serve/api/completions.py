"""/v1/completions: beginnings of messages of the bot's. Nothing of them is kept."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from elman.data.tokenizer import SPECIALS
from elman.serve.api.requests import ChoicesRequest, expected, refuse
from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS, ApiError
from elman.serve.http.stream import STREAMS, respond
from elman.serve.jobs import Job
from elman.serve.limits import LIMITS, MAX_OPEN_COMPLETIONS
from elman.serve.models import Model
from elman.serve.render.completion import Completion, TextAnswer
from elman.serve.service import Served, Service
from elman.serve.submission import Deliver, Submissions

router = APIRouter(prefix="/v1", responses=ERRORS)

TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
TextOrTokens = Annotated[
    str
    | TokenIds
    | Annotated[list[str], Field(max_length=LIMITS.max_prompts, fail_fast=True)]
    | Annotated[list[TokenIds], Field(max_length=LIMITS.max_prompts, fail_fast=True)],
    expected(f"text, token ids, or a list of at most {LIMITS.max_prompts} of either"),
]

DEFAULT_MAX_TOKENS = 16
"""As OpenAI has it."""


class CompletionRequest(ChoicesRequest):
    prompt: TextOrTokens
    max_tokens: int | None = Field(None, ge=0)
    best_of: int | None = Field(None, ge=1, le=LIMITS.max_choices)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=LIMITS.max_top_logprobs)
    suffix: str | None = None


@router.post("/completions", response_model=Completion, responses=STREAMS)
async def completions(
    request: Request, service: Served, owner: Owner, body: CompletionRequest
) -> Response:
    """A message of the bot's that begins with the prompt."""
    parse(body)
    answer, replies = await service.workers.do(owner, partial(resolve, service, owner, body))
    replies.submit()
    return await respond(request, answer, body.stream)


def parse(body: CompletionRequest) -> None:
    """Raise ApiError where this bot cannot do what is asked for."""
    refuse(body, "suffix")
    if body.best_of is not None and body.best_of != body.choices:
        raise ApiError(400, "best_of must be n", "best_of", "unsupported")
    body.check_stream()


def resolve(
    service: Service, owner: str, body: CompletionRequest
) -> tuple[TextAnswer, Submissions]:
    """Cut the prompts into tokens; prepare the replies that begin with them.

    Raises:
        ApiError: where there is no such bot, or too much of something.
    """
    count = body.choices
    model = service.model_with_room(body.model, owner, count)
    prompts = tokens_of(model, body.prompt, count)
    longest = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    params = body.params_of(model, longest, body.logprobs)

    def ask(number: int, deliver: Deliver) -> Job:
        return Job(
            model.bot.decoder.initial_state(1), [], params, deliver, (), count, prompts[number],
            owner=owner, is_continuation=number > 0,
        )  # fmt: skip

    each = [service.prepare(model, partial(ask, number)) for number in range(len(prompts))]
    replies = Submissions(each, max(1, MAX_OPEN_COMPLETIONS // count))
    answer = TextAnswer(
        model, replies, prompts, count, bool(body.echo), body.logprobs, body.with_usage
    )
    return answer, replies


def tokens_of(model: Model, given: Any, choices: int) -> list[list[int]]:
    """Return every prompt as tokens.

    Raises:
        ApiError: where there are too many.
    """
    several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    texts = given if several else [given]
    if len(texts) * choices > LIMITS.max_prompts:
        raise ApiError(
            400, f"{len(texts)} prompts with {choices} replies each: at most "
            f"{LIMITS.max_prompts} replies to one request", "prompt",
        )  # fmt: skip
    found: list[list[int]] = []
    for text in texts:
        found.append(_tokens(model, text))
        if (size := len(found[-1])) > LIMITS.max_prompt_tokens:
            raise ApiError(
                400, f"the prompt has {size:,} tokens: {LIMITS.max_prompt_tokens:,} at most",
                "prompt",
            )  # fmt: skip
    if (size := sum(map(len, found)) * choices) > LIMITS.max_total_prompt_tokens:
        raise ApiError(
            400, f"the prompts have {size:,} tokens, each counted n times: "
            f"{LIMITS.max_total_prompt_tokens:,} at most; ask for some of them at a time", "prompt",
        )  # fmt: skip
    return found


def _tokens(model: Model, prompt: str | list[int]) -> list[int]:
    """Return a prompt that is text, or tokens already, as tokens.

    Raises:
        ApiError: where one of the tokens is not of text.
    """
    tokenizer = model.bot.tokenizer
    if isinstance(prompt, str):
        return tokenizer.encode(prompt)
    for token in prompt:
        if not SPECIALS <= token < tokenizer.vocabulary_size:
            last = tokenizer.vocabulary_size - 1
            raise ApiError(400, f"token {token}: must be from {SPECIALS} to {last}", "prompt")
    return list(prompt)
