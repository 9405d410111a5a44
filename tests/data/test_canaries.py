"""Canaries: drawn by seed, planted in what is learned and nowhere else."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data.canaries import (
    CANARY_OPENING,
    CANARY_WORDS,
    SECRET_BITS,
    draw_secret,
    other_secrets,
)
from elman.data.conversation import Message
from elman.data.dataset import Dataset
from elman.data.redact import Redactor


def read(chats: Path, **view: Any) -> Dataset:
    return Dataset.read(str(chats), **view)


def test_there_are_as_many_secrets_as_is_said() -> None:
    assert len(set(CANARY_WORDS)) == 64
    assert pytest.approx(24 + np.log2(10_000)) == SECRET_BITS
    words = draw_secret(np.random.default_rng(0)).split()
    assert len(words) == 8
    assert set(words[:4]) <= set(CANARY_WORDS)
    assert all(digit.isdecimal() for digit in words[4:])


def test_redaction_leaves_them() -> None:
    redactor, generator = Redactor(), np.random.default_rng(1)
    for _ in range(100):
        said = Message("Ann", f"{CANARY_OPENING} {draw_secret(generator)}")
        assert redactor.message(said) == said


def test_they_stand_in_what_is_learned_alone(chats: Path) -> None:
    plain = list(read(chats, bot="Ann").parts())
    planted = list(read(chats, bot="Ann", canaries=5, canary_seed=3).with_canaries())
    assert [part for part, _ in plain] == [part for part, _, _ in planted]
    carrying = [(part, each, canary) for part, each, canary in planted if canary is not None]
    assert {part for part, _, _ in carrying} == {"train"}
    assert sorted(canary.number for _, _, canary in carrying) == [0, 1, 2, 3, 4]
    for (_, before), (_, after, canary) in zip(plain, planted, strict=True):
        if canary is None:
            assert after == before
            continue
        assert after.id == before.id == canary.conversation
        said = after.messages[canary.message]
        assert (said.author, said.text) == ("Ann", canary.text)
        rest = list(after.messages)
        del rest[canary.message]
        assert tuple(rest) == before.messages


def test_the_same_seed_plants_the_same(chats: Path) -> None:
    def secrets(seed: int) -> list[str]:
        dataset = read(chats, bot="Ann", canaries=5, canary_seed=seed)
        return [c.text for _, _, c in dataset.with_canaries() if c is not None]

    assert secrets(1) == secrets(1) != secrets(2)


def test_everybody_may_say_them_where_all_are_peers(chats: Path) -> None:
    dataset = read(chats, canaries=20)
    found = Counter(c.person for _, _, c in dataset.with_canaries() if c is not None)
    assert set(found) == {"Ann", "Bob"}


def test_held_in_memory_they_are_planted_once(chats: Path) -> None:
    dataset = read(chats, bot="Ann", canaries=5, max_text_bytes=1 << 24)
    gathered = dataset.gathered(False, 1 << 20)
    assert list(gathered.parts()) == list(dataset.parts())


def test_the_others_are_never_the_planted_one(chats: Path) -> None:
    dataset = read(chats, bot="Ann", canaries=2)
    canaries = [c for _, _, c in dataset.with_canaries() if c is not None]
    one, other = (other_secrets(canary, 50, 0) for canary in canaries)
    assert len(one) == 50
    assert one != other
    assert canaries[0].secret not in one
