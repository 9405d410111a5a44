"""What the requests of all routes share: settings of a reply, texts, and what is refused.

Fields that change nothing are ignored; what would be a pretence (tools, images, schemas) is not.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

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

from elman.data.conversation import Role, Turn
from elman.data.tokenizer import SPECIALS
from elman.generate.sampling import SamplingParams
from elman.serve.carried import CARRY, MAX_CARRIED_CHARACTERS
from elman.serve.http.errors import ApiError
from elman.serve.limits import LIMITS
from elman.serve.models import Model

Finite = Annotated[float, Field(allow_inf_nan=False)]

ROLE_OF: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "bot",
}


def expected(what: str) -> WrapValidator:
    """Say in one sentence what a union expects, and not what each of its branches lacks."""

    def validate(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(given)
        except ValidationError:
            raise PydanticCustomError("expected", "must be {what}", {"what": what}) from None

    return WrapValidator(validate)


CarriedText = Annotated[
    str | None,
    Field(
        max_length=MAX_CARRIED_CHARACTERS,
        description=f'"{CARRY}": the answer brings the state of the chat, and nothing of it is '
        "kept. Later on that state: the chat goes on from it.",
    ),
]


class Body(BaseModel):
    """The body of a request: a number is no text, and every text is whole."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_whole_texts(cls, given: Any) -> Any:
        try:
            json.dumps(given, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise ValueError("some text has half of a character (a lone surrogate)") from None
        return given


class ReplyRequest(Body):
    """Settings that every request for a reply has. What is not given is as in `elman chat`."""

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

    def sampling_params(
        self,
        model: Model,
        max_tokens: int | None,
        logprobs: int | None,
        stop: Sequence[str] = (),
        logit_bias: Mapping[int, float] = MappingProxyType({}),
    ) -> SamplingParams:
        """Return how the reply is to be drawn; what is not given is as in `elman chat`."""
        own = ReplyRequest.model_fields.keys() & SamplingParams.model_fields.keys()
        given = self.model_dump(include=set(own), exclude_none=True)
        if max_tokens is not None:
            given["max_tokens"] = min(max_tokens, LIMITS.max_reply_tokens)
        return SamplingParams.of(
            model.bot.config,
            **given,
            logit_bias=dict(logit_bias),
            stop=tuple(stop),
            logprobs=logprobs,
        )


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ContentPart(BaseModel):
    """A part of a message; only text is read."""

    type: str
    text: str | None = None
    refusal: str | None = None


Content = Annotated[
    str | Annotated[list[ContentPart], Field(fail_fast=True)],
    expected('text, or a list of parts such as {"type": "text", "text": "Hello"}'),
]
StopText = Annotated[str, Field(min_length=1, max_length=LIMITS.max_stop_characters)]
Stop = Annotated[
    StopText | Annotated[list[StopText], Field(max_length=LIMITS.max_stop_texts, fail_fast=True)],
    expected(
        f"a text of 1 to {LIMITS.max_stop_characters:,} characters, or a list of at most "
        f"{LIMITS.max_stop_texts} of them"
    ),
]
Bias = Annotated[
    dict[str, Annotated[Finite, Field(ge=-100, le=100)]],
    Field(max_length=LIMITS.max_logit_biases),
    expected(
        f"an object of at most {LIMITS.max_logit_biases} tokens, "
        "each with a number from -100 to 100"
    ),
]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class ChoicesRequest(ReplyRequest):
    """Settings that requests for completions have."""

    stop: Stop | None = None
    n: int | None = Field(None, ge=1, le=LIMITS.max_choices)
    logit_bias: Bias | None = None
    stream_options: StreamOptions | None = None

    @property
    def choices(self) -> int:
        """How many replies are asked for."""
        return self.n or 1

    @property
    def with_usage(self) -> bool:
        """Whether a stream is to end with what it took."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def check_stream(self) -> None:
        """Raise ApiError where there are options of a stream, and no stream is asked for."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options only goes with stream", "stream_options")

    def params_of(
        self, model: Model, max_tokens: int | None, logprobs: int | None
    ) -> SamplingParams:
        """Return how a bot is to make the replies.

        Raises:
            ApiError: where a bias is for what is no token of the bot's.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        biases = _biases(self.logit_bias or {}, model)
        return self.sampling_params(model, max_tokens, logprobs, stop, biases)


def text_of(content: Content | None, param: str) -> str:
    """Return the text of a message.

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
    """Join messages of one role that follow one another: in training they are one."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].role == turn.role:
            found[-1] = Turn(turn.role, f"{found[-1].text}\n{turn.text}")
        else:
            found.append(turn)
    return found


def _biases(bias: Bias, model: Model) -> dict[int, float]:
    """Return the tokens of a `logit_bias` as numbers.

    Raises:
        ApiError: where a name is no token of text, written as a plain number.
    """
    size = model.bot.tokenizer.vocabulary_size
    found = {}
    for name, value in bias.items():
        token = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else -1
        if str(token) != name or not SPECIALS <= token < size:
            short = name if len(name) <= 20 else f"{name[:20]}…"
            raise ApiError(
                400, f"logit_bias {short!r}: tokens are numbers from {SPECIALS} to {size - 1}",
                "logit_bias",
            )  # fmt: skip
        found[token] = value
    return found


def refuse(body: BaseModel, *names: str) -> None:
    """Raise ApiError where something is asked for that this bot cannot do."""
    for name in names:
        if getattr(body, name):
            raise ApiError(400, f"this bot has no {name}: leave that out", name, "unsupported")


def refuse_formats(given: Any, param: str) -> None:
    """Raise ApiError where a reply is to be anything but text."""
    if given is not None and (not isinstance(given, dict) or given.get("type") != "text"):
        raise ApiError(
            400, f"this bot says what it says: of {param} only text", param, "unsupported"
        )
