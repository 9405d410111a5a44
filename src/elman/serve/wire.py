"""What the endpoints' requests share: settings of a reply, texts, and what is refused.

Fields that change nothing are ignored; what would be a pretence (tools, images, schemas) is not.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from elman.data.tokenizer import SPECIALS
from elman.generate.sampling import SamplingParams
from elman.serve.errors import ApiError
from elman.serve.limits import (
    MAX_BIASES,
    MAX_REPLY_TOKENS,
    MAX_STOP_CHARACTERS,
    MAX_STOP_TEXTS,
)
from elman.serve.prompts import Model, Turn

Finite = Annotated[float, Field(allow_inf_nan=False)]

ROLES: dict[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "bot",
}


def whole_text(given: Any) -> Any:
    """Raises ValueError where some text is none: half of a surrogate pair."""
    try:
        json.dumps(given, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ValueError("some text has half of a character (a lone surrogate)") from None
    return given


def expected(what: str) -> WrapValidator:
    """Say in one sentence what is expected, in the place of what each branch of a union lacks."""

    def validate(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(given)
        except ValidationError:
            raise PydanticCustomError("expected", "must be {what}", {"what": what}) from None

    return WrapValidator(validate)


class Request(BaseModel):
    """Settings that every kind of request has. What is not given is as in `elman chat`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str = Field(max_length=200, description="One of those that /v1/models lists.")
    temperature: Annotated[Finite, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Finite, Field(gt=0, le=1)] | None = None
    min_p: Annotated[Finite, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Finite, Field(ge=1, le=10)] | None = None
    presence_penalty: Annotated[Finite, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Finite, Field(ge=-2, le=2)] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    stream: bool | None = None
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        return whole_text(given)

    def sampling_params(
        self,
        max_tokens: int | None,
        stop: Sequence[str] = (),
        logit_bias: Mapping[int, float] | None = None,
        logprobs: int | None = None,
    ) -> SamplingParams:
        """Return how the reply is to be drawn; what is not given is as in `elman chat`."""
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": logit_bias,
            "stop": tuple(stop),
            "logprobs": logprobs,
            "max_tokens": None if max_tokens is None else min(max_tokens, MAX_REPLY_TOKENS),
            "seed": self.seed,
        }
        return SamplingParams(**{name: each for name, each in given.items() if each is not None})


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool | None = None


class Part(BaseModel):
    """A part of a message; only text is read."""

    model_config = ConfigDict(extra="ignore")

    type: str
    text: str | None = None
    refusal: str | None = None


Content = Annotated[
    str | Annotated[list[Part], Field(fail_fast=True)],
    expected('text, or a list of parts such as {"type": "text", "text": "Hello"}'),
]
StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
Stop = Annotated[
    StopText | Annotated[list[StopText], Field(max_length=MAX_STOP_TEXTS, fail_fast=True)],
    expected(
        f"a text of 1 to {MAX_STOP_CHARACTERS:,} characters, or a list of at most "
        f"{MAX_STOP_TEXTS} of them"
    ),
]
Bias = Annotated[
    dict[str, Annotated[Finite, Field(ge=-100, le=100)]],
    Field(max_length=MAX_BIASES),
    expected(f"an object of at most {MAX_BIASES} tokens, each with a number from -100 to 100"),
]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


def text_of(content: Content | None, param: str) -> str:
    """The text of a message.

    Raises:
        ApiError: where there is anything but text.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        if part.type == "refusal" and part.refusal is not None:
            texts.append(part.refusal)
        elif part.type in ("text", "input_text", "output_text") and part.text is not None:
            texts.append(part.text)
        else:
            raise ApiError(400, f"this bot reads text, and no {part.type!r}", param, "unsupported")
    return "\n".join(texts)


def joined(turns: Sequence[Turn]) -> list[Turn]:
    """Messages that follow one another in the same role are one, as in training."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].role == turn.role:
            found[-1] = Turn(turn.role, f"{found[-1].text}\n{turn.text}")
        else:
            found.append(turn)
    return found


def stops(stop: Stop | None) -> list[str]:
    return [] if stop is None else [stop] if isinstance(stop, str) else list(stop)


def biases(bias: Bias | None, model: Model) -> dict[int, float]:
    """The tokens of a `logit_bias` as numbers.

    Raises:
        ApiError: where a name is no token of text, written as a plain number.
    """
    size = model.bot.tokenizer.vocabulary_size
    found = {}
    for name, value in (bias or {}).items():
        token = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else -1
        if str(token) != name or not SPECIALS <= token < size:
            short = name if len(name) <= 20 else f"{name[:20]}…"
            raise ApiError(
                400, f"logit_bias {short!r}: tokens are numbers from {SPECIALS} to {size - 1}",
                "logit_bias",
            )  # fmt: skip
        found[token] = value
    return found


def refuse(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises ApiError for what this bot cannot do, where it was asked for."""
    for name in names:
        if given.get(name):
            raise ApiError(400, f"this bot has no {name}: leave that out", name, "unsupported")


class Usage(BaseModel):
    class Prompt(BaseModel):
        cached_tokens: int
        audio_tokens: int = 0

    class Completion(BaseModel):
        reasoning_tokens: int = 0
        audio_tokens: int = 0
        accepted_prediction_tokens: int = 0
        rejected_prediction_tokens: int = 0

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Prompt
    completion_tokens_details: Completion

    @classmethod
    def of(cls, prompt: int, known: int, said: int) -> "Usage":
        return cls(
            prompt_tokens=prompt,
            completion_tokens=said,
            total_tokens=prompt + said,
            prompt_tokens_details=cls.Prompt(cached_tokens=known),
            completion_tokens_details=cls.Completion(),
        )


def sse(data: Mapping[str, Any] | Literal["[DONE]"], event: str | None = None) -> bytes:
    """One server-sent event; its lines end in \\n."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {text}\n\n".encode()
