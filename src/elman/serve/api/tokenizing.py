"""/tokenize and /detokenize, as vLLM has them (https://docs.vllm.ai, "Tokenizer API")."""

from functools import partial
from itertools import chain
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from elman.data.tokenizer import END, ROLES, Tokenizer
from elman.serve.api.chat_completions import ChatMessage, turns_of
from elman.serve.api.requests import Body
from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS, ApiError
from elman.serve.limits import LIMITS
from elman.serve.service import Served, Service

router = APIRouter(responses=ERRORS)


class TokenizerRequest(Body):
    model: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="May be left out where one bot is served."
    )


class TokenizeRequest(TokenizerRequest):
    """Text, or a conversation. Special tokens stand around messages and never in text."""

    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(fail_fast=True)] | None = Field(
        None, min_length=1, max_length=LIMITS.max_messages
    )
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None


class Tokenized(BaseModel):
    count: int
    max_model_len: int = Field(
        LIMITS.max_prompt_tokens, description="Tokens of a prompt of /v1/completions, at most."
    )
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(TokenizerRequest):
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]


class Detokenized(BaseModel):
    prompt: str


class TokenizerInfo(BaseModel):
    """What harnesses ask for before they tokenize here."""

    tokenizer_class: str = "ByteLevelBPE"
    bos_token: str = Field(" ", description="What may stand before a text without context.")
    eos_token: None = Field(None, description="No text ends a message.")
    pad_token: None = None
    chat_template: None = None


@router.post("/tokenize")
async def tokenize(service: Served, owner: Owner, body: TokenizeRequest) -> Tokenized:
    """A text, or a conversation, as the bot's tokens."""
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "send either a prompt or messages", "prompt")
    return await service.workers.do(owner, partial(_tokenized, service, body))


@router.post("/detokenize")
async def detokenize(service: Served, owner: Owner, body: DetokenizeRequest) -> Detokenized:
    """The text that tokens stand for; special ones stand for none."""
    return await service.workers.do(owner, partial(_detokenized, service, body))


@router.get("/tokenizer_info")
async def tokenizer_info(owner: Owner) -> TokenizerInfo:
    """What a harness must know of the tokenizer."""
    return TokenizerInfo()


def _tokenizer_of(service: Service, name: str | None) -> Tokenizer:
    """Return the tokenizer of a bot; without a name, of the only one.

    Raises:
        ApiError: where there is no such bot, or several without a name.
    """
    if name is not None:
        return service.model(name).bot.tokenizer
    if len(service.models) > 1:
        raise ApiError(400, "several bots are served: say which model", "model")
    return next(iter(service.models.values())).bot.tokenizer


def _tokenized(service: Service, body: TokenizeRequest) -> Tokenized:
    tokenizer = _tokenizer_of(service, body.model)
    if body.prompt is not None:
        tokens = tokenizer.encode(body.prompt)
    else:
        turns = turns_of(body.messages or [])
        messages = [[ROLES[turn.role], *tokenizer.encode(turn.text), END] for turn in turns]
        tokens = list(chain.from_iterable(messages))
    spelled = None
    if body.return_token_strs:
        spelled = [tokenizer.spelled(token).decode("utf-8", "replace") for token in tokens]
    return Tokenized(count=len(tokens), tokens=tokens, token_strs=spelled)


def _detokenized(service: Service, body: DetokenizeRequest) -> Detokenized:
    tokenizer = _tokenizer_of(service, body.model)
    last = tokenizer.vocabulary_size - 1
    if (largest := max(body.tokens, default=0)) > last:
        raise ApiError(400, f"token {largest}: must be from 0 to {last}", "tokens")
    return Detokenized(prompt=tokenizer.decode(body.tokens))
