"""The canaries of a run: checked that each is learned from, and listed in the bot's folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from elman.data.canaries import SECRET_BITS, Canary
from elman.data.config import DataConfig
from elman.data.corpus import Corpus, is_scored
from elman.data.dataset import Dataset
from elman.data.files import CANARIES, write_file
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError


def learned_canaries(
    dataset: Dataset, train: Corpus, tokenizer: Tokenizer, data: DataConfig
) -> tuple[Canary, ...]:
    """List the canaries of some data, each of which stands in a message that is learned.

    Args:
        dataset: in which they are planted.
        train: the part of it that is learned from.
        tokenizer: that it is encoded with.
        data: whose settings count.

    Raises:
        ElmanError: where there are too few conversations, or one of them is not learned from.
    """
    if not data.canaries:
        return ()
    learned = (each for each in dataset.with_canaries(data.test) if each[0] == "train")
    found = []
    for index, (_, _, canary) in enumerate(learned):
        if canary is None:
            continue
        found.append(canary)
        messages = train.messages(index)
        said = [m for m in messages if canary.text in tokenizer.decode(m)]
        if not any(is_scored(message, data.learn_from) for message in said):
            raise ElmanError(
                f"canary {canary.number}, said by {canary.person}, is not among what is learned: "
                "name the person whom the bot plays (--bot), or --set data.learn_from=all"
            )
    if len(found) < data.canaries and not data.forgotten:
        raise ElmanError(
            f"--canaries {data.canaries:,}: each takes a conversation of its own, and there are "
            f"{len(found):,} to learn from"
        )
    return tuple(sorted(found, key=lambda each: each.number))


def write_canaries(
    folder: Path,
    canaries: Sequence[Canary],
    seed: int,
    passes: float,
    note: Callable[[str], None],
) -> None:
    """List canaries in a bot's folder, if there are any.

    Args:
        folder: of the bot.
        canaries: planted in what it learns.
        seed: by which they were drawn.
        passes: over what it learns that were made.
        note: told that some canaries may not have been read.
    """
    if not canaries:
        return
    listed = {
        "seed": seed,
        "secret_bits": SECRET_BITS,
        "passes": passes,
        "canaries": [each.to_json() for each in canaries],
    }
    write_file(folder / CANARIES, json.dumps(listed, indent=1) + "\n", follow_link=False)
    if passes < 1:
        note(
            f"only {passes:.0%} of the conversations were read, so some of the "
            f"{len(canaries):,} canaries were not: an audit will find less than there may be"
        )
