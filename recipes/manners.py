"""Count how the base's replies differ from people's, and write down what mends it.

    python recipes/manners.py --work DIR --bot FOLDER         # minutes of one core

Replies are drawn in 1,000 places of the held-out part, after the conversations that are measured.
`elman.generate.manners` ranks replies by what is written.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import mixture
import numpy as np

from elman import load_bot
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.generate.bot import Bot
from elman.generate.likelihood import Likelihoods, Tokens, as_drawn
from elman.generate.manners import QUESTION_MARKS, Manners, MannersFile
from elman.generate.match import Match
from elman.generate.penalties import beyond
from elman.generate.positions import ReplyPosition, draw_positions, states_at
from elman.generate.rerank import Ranking, draw, gained, ranked
from elman.generate.sampling import SamplingParams

MEASURED_CONVERSATIONS = 400
"""Of held.jsonl, the first, which benchmarks/base.py reads; all is fitted on later ones."""

PLACES, PLACES_AT_ONCE = 1000, 40

ASKS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Gains of a question that are tried. Taken is the first by which the bot asks as often as people
do, or the last.
"""


class Place(NamedTuple):
    """What could be said in one place.

    Args:
        replies: that were drawn.
        likely: how likely they are.
        gain: what they gain by how well they belong.
        far: by how much each goes beyond what people do.
    """

    replies: list[Tokens]
    likely: Likelihoods
    gain: np.ndarray
    far: list[int]


def drawn(bot: Bot, corpus: Corpus, positions: Sequence[ReplyPosition]) -> Iterator[Place]:
    """Draw replies, as the bot does."""
    decoder, tokenizer, match = bot.decoder, bot.tokenizer, Match.read(bot)
    params, ranking = SamplingParams.of(bot.config), Ranking.of(bot.config)
    states, generator = states_at(decoder, corpus, positions), np.random.default_rng(0)
    for begin in range(0, len(positions), PLACES_AT_ONCE):
        some = slice(begin, begin + PLACES_AT_ONCE)
        state = tuple(array[some] for array in states)
        rows = draw(decoder, state, params, ranking.samples, generator)
        texts = [[each.tokens for each in own] for own in rows]
        likely = list(as_drawn(decoder, state, rows, gaining=match is not None))
        gains = gained(match.gains if match else None, decoder, state, rows, likely)
        for place, *own in zip(positions[some], texts, likely, gains, strict=True):
            history = place.history(corpus, tokenizer)
            far = [beyond(reply, history, ranking.limits, tokenizer) for reply in own[0]]
            yield Place(*own, far)


def write(work: Path, bot: Bot) -> None:
    """Write the manners of a bot into its folder.

    Args:
        work: where the mixture is.
        bot: whose replies are counted.
    """
    dataset = Dataset.read(str(work / "held.jsonl"), bot=mixture.BOT, others=bot.data.others)
    later = islice(dataset.conversations(), MEASURED_CONVERSATIONS, None)
    corpus = Corpus.encode(later, bot.tokenizer, dataset.bot, dataset.others)
    positions = draw_positions(corpus, "bot", PLACES, 0)
    places = list(drawn(bot, corpus, positions))
    times = Counter(bot.tokenizer.decode(reply) for place in places for reply in place.replies)
    often = {text: number for text, number in times.most_common() if number > 1}
    people = asking(bot.tokenizer.decode(each.message(corpus)[1:-1]) for each in positions)
    mmi_weight = Ranking.of(bot.config).mmi_weight
    for asks in ASKS:
        manners = Manners(MannersFile(**bot.made_by, asks=asks, often=often), bot.tokenizer)
        said = []
        for replies, likely, gain, far in places:
            [more] = manners.gains(bot.decoder, (), [replies])
            first = ranked(replies, likely, mmi_weight, -gain - more, beyond=far)[0]
            said.append(bot.tokenizer.decode(first.tokens))
        again = sum(number for number in Counter(said).values() if number > 1) / len(said)
        print(f"manners: {asks} for asking: {asking(said):.3f} ask (people {people:.3f}), "
              f"{again:.3f} said more than once", flush=True)  # fmt: skip
        if asking(said) >= people:
            break
    manners.save(bot)


def asking(texts: Sequence[str] | Iterator[str]) -> float:
    """Return the share of texts with a question mark."""
    return float(np.mean([any(mark in text for mark in QUESTION_MARKS) for text in texts]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bot", type=Path, required=True)
    arguments = parser.parse_args()
    write(arguments.work, load_bot(arguments.bot))


if __name__ == "__main__":
    main()
