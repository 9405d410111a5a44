"""What a run goes on from: read from its folder, and held to what the next step will need."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.model.checkpoint import check_weights
from elman.model.tensor_files import Header, check_finite, read_tensors
from elman.train.config import Config

RESUME = "resume.safetensors"

Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Batches(_Strict):
    epoch: Count
    taken: Count
    conversation: list[int]
    offset: list[Count] | None = None
    counted: list[int] | None = None


class _Trainer(_Strict):
    steps: Count
    batches: _Batches


class _Contents(_Strict):
    conversations: Count
    messages: Count
    tokens: Count
    digest: str


class _Facts(_Strict):
    trainer: _Trainer
    seconds: Real
    validated: Count
    best: Real | None
    worse: Count
    round: list[Real | None] = Field([0.0, 0.0, None], min_length=3, max_length=3)
    round_began: Real = 0.0
    corpus: str
    contents: dict[Literal["learned from", "held out"], _Contents] | None = None
    finished: bool


def read_resume(
    folder: Path, config: Config, vocabulary_size: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a run's last checkpoint; its weights are checked before anything is allocated.

    Raises:
        ElmanError: where it is missing, damaged, or of another network than the configuration's.
    """
    path = folder / RESUME

    def check(header: Header, facts: dict[str, Any]) -> None:
        validated(_Facts, facts, path)
        known = ("model", "optimizer", "state", "rng")
        if strange := [name for name in header if name.partition(".")[0] not in known]:
            raise ElmanError(f"{path}: {strange[0]!r} is nothing that a run goes on from")
        prefix = "model."
        weights = {n.removeprefix(prefix): s for n, s in header.items() if n.startswith(prefix)}
        check_weights(path, weights, config.model, vocabulary_size)

    tensors, facts = read_tensors(path, check)
    check_finite(path, tensors)
    return tensors, facts
