"""What a checkpoint says beside its tensors, and whether the conversations are still the same."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.data.corpus import Corpus

RESUME = "resume.safetensors"
"""The one checkpoint of a run of the last release."""

OLD_FACTS = {"round": "cycle", "round_began": "cycle_began"}
"""What facts were called in the last release, and what they are called today."""

Count = Annotated[int, Field(ge=0)]
Threads = Annotated[int, Field(ge=1, le=4096)]
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


class CheckpointFacts(_Strict):
    """What a checkpoint says beside its tensors."""

    trainer: _Trainer
    processes: Count = 1
    seconds: Real
    validated: Count
    best: Real | None
    best_step: Count | None = None
    worse: Count
    cycle: list[Real | None] = Field([0.0, 0.0, None], min_length=3, max_length=3)
    cycle_began: Real = 0.0
    corpus: str
    contents: dict[Literal["learned from", "held out"], _Contents] | None = None
    setbacks: Count = 0
    conditions: dict[str, Threads | Annotated[str, Field(max_length=100)]] = {}
    ended: Literal["finished", "early stop"] | None


def with_new_facts(facts: dict[str, Any]) -> None:
    """Call facts of the last release as they are called today."""
    for old, new in OLD_FACTS.items():
        if old in facts:
            facts[new] = facts.pop(old)
    if "finished" in facts:
        facts["ended"] = "finished" if facts.pop("finished") else None


def contents(train: Corpus, dev: Corpus | None) -> dict[str, Any]:
    """Count what is learned and held out, and name it by digests."""
    parts = {"learned from": train, "held out": dev}
    return {
        name: {
            "conversations": len(corpus),
            "messages": corpus.message_count,
            "tokens": corpus.tokens,
            "digest": corpus.digest,
        }
        for name, corpus in parts.items()
        if corpus is not None
    }


def changes(facts: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in words how `contents` differ from those of a checkpoint; "" if they do not."""
    before = facts.get("contents")
    if before is None:  # of an earlier version
        same = facts["corpus"] == now["learned from"]["digest"]
        return "" if same else "their text differs"
    found = []
    for name in sorted(before.keys() | now.keys(), reverse=True):
        one, other = before.get(name, {}), now.get(name, {})
        counts = [
            f"{other.get(what, 0):,} {what} where there were {one.get(what, 0):,}"
            for what in ("conversations", "messages", "tokens")
            if one.get(what, 0) != other.get(what, 0)
        ]
        if one.get("digest") != other.get("digest"):
            found.append(f"{name} are {' and '.join(counts) or 'as many, of other text'}")
    return "; ".join(found)
