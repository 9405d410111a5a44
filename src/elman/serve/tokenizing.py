"""/tokenize and /detokenize, as vLLM has them (https://docs.vllm.ai, "Tokenizer API")."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from elman.serve.access import Owner
from elman.serve.chat_completions import ChatMessage, turns_of
from elman.serve.errors import ApiError
from elman.serve.limits import MAX_MESSAGES, MAX_PROMPT_TOKENS
from elman.serve.prompts import Model
from elman.serve.routes import ERRORS, service_of
from elman.serve.service import Service
from elman.serve.wire import whole_text

router = APIRouter(responses=ERRORS)

ModelName = Annotated[str, Field(max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    model: ModelName | None = Field(None, description="May be left out where one bot is served.")

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        return whole_text(given)


class TokenizeRequest(_Body):
    """Text, or a conversation. Special tokens stand around messages and never in text."""

    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(fail_fast=True)] | None = Field(
        None, min_length=1, max_length=MAX_MESSAGES
    )
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None


class Tokenized(BaseModel):
    count: int
    max_model_len: int = Field(
        MAX_PROMPT_TOKENS, description="Tokens of a prompt of /v1/completions, at most."
    )
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(_Body):
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


def model_of(service: Service, name: str | None) -> Model:
    """The bot of that name; without one, the only bot.

    Raises:
        ApiError: where there is none, or several.
    """
    if name is not None:
        return service.model(name)
    if len(service.models) > 1:
        raise ApiError(400, "several bots are served: say which model", "model")
    return next(iter(service.models.values()))


def _tokenized(service: Service, owner: str, body: TokenizeRequest) -> Tokenized:
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "send either a prompt or messages", "prompt")
    model = model_of(service, body.model)
    tokenizer = model.bot.tokenizer
    if body.prompt is not None:
        tokens = tokenizer.encode(body.prompt)
    else:
        memory, node, tokens = model.memory(service.store, owner), None, []
        for turn in turns_of(body.messages or []):
            node = memory.after(node, turn.role, turn.text)
            tokens += memory.ids(node).tolist()
    spelled = None
    if body.return_token_strs:
        spelled = [tokenizer.spelled(token).decode("utf-8", "replace") for token in tokens]
    return Tokenized(count=len(tokens), tokens=tokens, token_strs=spelled)


@router.post("/tokenize")
async def tokenize(request: Request, owner: Owner, body: TokenizeRequest) -> Tokenized:
    """A text, or a conversation, as the bot's tokens."""
    service = service_of(request)
    return await service.workers.do(owner, lambda: _tokenized(service, owner, body))


@router.post("/detokenize")
async def detokenize(request: Request, owner: Owner, body: DetokenizeRequest) -> Detokenized:
    """The text that tokens stand for; special ones stand for none."""
    service = service_of(request)
    tokenizer = model_of(service, body.model).bot.tokenizer
    last = tokenizer.vocabulary_size - 1
    if (largest := max(body.tokens, default=0)) > last:
        raise ApiError(400, f"token {largest}: must be from 0 to {last}", "tokens")
    return Detokenized(prompt=tokenizer.decode(body.tokens))


@router.get("/tokenizer_info")
async def tokenizer_info(owner: Owner) -> TokenizerInfo:
    """What a harness must know of the tokenizer."""
    return TokenizerInfo()
