"""Replies that somebody wrote: of those to what is like what was said, the one that most probably
makes sense here.

A small net speaks, and often beside the point. A bot's folder may hold exchanges: what a person
says, and the answer that somebody wrote for it (`elman.generate.exchanges` finds them). A logistic
regression tells of the nearest replies how probably each makes sense: of how like the places are,
how alike the replies to them are, and what the net makes of each reply. It was learned from replies
that readers had judged (recipes/written.py). Where none makes sense probably enough, it is said
that somebody listens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self
from zlib import crc32

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import reply_batch
from elman.generate.exchanges import Exchanges, Near, Place
from elman.generate.likelihood import (
    Tokens,
    lengths_with_end,
    log_likelihoods,
    read_alone,
    split,
)
from elman.generate.manners import QUESTION_MARKS
from elman.generate.match import Match
from elman.generate.penalties import Habits, History, beyond, words_of
from elman.generate.sampling import SamplingParams
from elman.generate.stems import stems_of
from elman.generate.told import ASKING_BUCKETS, AskingWords, Told, ToldFinder
from elman.generate.turned import ASKING
from elman.generate.written_arrays import WrittenArrays
from elman.generate.written_facts import NET_TRAITS, WORD_TRAITS, RankingFacts
from elman.model.array_files import read_arrays, write_arrays
from elman.model.folder import WRITTEN as WRITTEN

MAX_WRITTEN_WORDS = 40
"""Words of a message; nobody wrote an answer to a longer one."""

LISTENS_AGAIN_AFTER = 1
"""Replies after which it may merely listen again."""

FITS_SOMEWHAT = 0.35
"""How probably a reply must make sense to be given sooner than that, where it has just listened."""

MAX_RECALLED_TOKENS = 30
"""Tokens in which the net says what it recalls of what was told,"""

MAX_RECALLED_NATS = 0.5
"""and -log p of each, on average, at most: else it is not sure enough."""

MAX_LIKENED_CHARS = 2000
"""Of each message before; replies are compared with no more of it."""


class Judged(NamedTuple):
    """A reply, and what is known of it.

    Args:
        reply: its text.
        tokens: of it, without END.
        traits: those of `WORD_TRAITS`, and of `NET_TRAITS` if the net was asked; none of what makes
            sense nearly everywhere.
        sense: how probably it makes sense, from 0 to 1; of the latter the bound.
        origin: "told": it says what the user told, or that the user did not; "generate": what the
            net recalls of that.
    """

    reply: str
    tokens: Tokens
    traits: np.ndarray
    sense: float
    origin: Literal["written", "told", "generate"] = "written"


@dataclass
class Written:
    """Chooses among replies that somebody wrote.

    Args:
        exchanges: what was written.
        facts: how replies are ranked.
        match: what tells how well replies belong; None: the net is not asked about them.
    """

    exchanges: Exchanges
    facts: RankingFacts
    match: Match | None = None

    def __post_init__(self) -> None:
        facts = self.facts
        self.listens = {*facts.listening, *facts.unknowing}
        """What makes sense nearly everywhere."""
        asking = AskingWords(self.exchanges.arrays.asking, facts.told.bias)
        self.told = ToldFinder(self.exchanges, asking, facts.told)

    @classmethod
    def read(cls, bot: Bot) -> Self | None:
        """Read what a bot's folder holds; None where there is none.

        Raises:
            ElmanError: where it is damaged.
        """
        path = bot.path / WRITTEN
        if not path.exists():
            return None
        found, facts = read_arrays(path)
        if found.keys() != set(WrittenArrays._fields):
            raise ElmanError(f"{path}: holds no exchanges: delete it")
        arrays = WrittenArrays(**found)
        arrays.check(path)
        ranking = validated(RankingFacts, facts, path)
        sizes = [len(each.weights) for each in (ranking.by_words, ranking.by_all)]
        fits = sizes == [len(WORD_TRAITS), len(WORD_TRAITS) + len(NET_TRAITS)]
        fits = fits and len(arrays.asking) == ASKING_BUCKETS
        if not fits or not ranking.told.fits:
            raise ElmanError(f"{path}: ranks by other traits than this version of Elman: delete it")
        return cls(Exchanges(arrays), ranking, Match.read(bot))

    def save(self, folder: Path) -> None:
        """Write it into a bot's folder."""
        write_arrays(folder / WRITTEN, self.exchanges.arrays._asdict(), self.facts.model_dump())

    def best(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        state: State,
        histories: Sequence[History],
        limits: Habits,
        by_net: bool = True,
    ) -> list[Judged | None]:
        """Choose a written reply to each row of a state.

        Args:
            decoder: who replies.
            tokenizer: its own.
            state: after the messages to be answered.
            histories: what was said before, one for each row.
            limits: how far people go in each habit.
            by_net: whether the net is asked too, which takes longer.

        Returns:
            The one that most probably makes sense, if that is probable enough; else one that makes
            sense nearly everywhere. None: it is left to the net.
        """
        nears = self.nears(tokenizer, histories)
        chosen: dict[int, Judged | None] = {}
        for row, (history, near) in enumerate(zip(histories, nears, strict=True)):
            told = self.told(history, near)
            if history.asked is None or (told is not None and told.asks):
                recalling = (decoder, decoder.select(state, [row])) if by_net else None
                chosen[row] = told and self._said_back(told, history, tokenizer, recalling)
        rows = [row for row in range(len(histories)) if row not in chosen]
        if rows:
            own = [histories[row] for row in rows]
            state = decoder.select(state, rows)
            there = [nears[row] for row in rows]
            judged = self.judged(decoder, tokenizer, state, own, there, limits, by_net)
            for row, history, every in zip(rows, own, judged, strict=True):
                chosen[row] = self._surest(every, history, tokenizer)
        return [chosen[row] for row in range(len(histories))]

    def _surest(
        self, every: Sequence[Judged], history: History, tokenizer: Tokenizer
    ) -> Judged | None:
        """Return the best of some replies, or what makes sense nearly everywhere."""
        best = every[0] if every else None
        bound = self.facts.question_bound if _asks(history) else self.facts.bound
        if best is not None and best.sense >= bound:
            return best
        listening = self._listening(history, tokenizer)
        lately = map(tokenizer.decode, history.said[:LISTENS_AGAIN_AFTER])
        again = not self.listens.isdisjoint(lately) and not _asks(history)
        if best is not None and (listening is None or (again and best.sense >= FITS_SOMEWHAT)):
            return best
        return listening

    def _said_back(
        self,
        told: Told,
        history: History,
        tokenizer: Tokenizer,
        recalling: tuple[Decoder, State] | None,
    ) -> Judged | None:
        """Return what was told; None where it may have been told, and only the net knows it.

        `recalling` is the net, and its state after the message; None: it is not asked.
        """
        sense = float(told.sense.max())
        if (found := told.found) is not None:
            tokens = tuple(tokenizer.encode(found.reply))
            return Judged(found.reply, tokens, np.zeros(0), sense, "told")
        if not told.whole:
            return None
        if recalling is not None:
            own = self._recalled(told, history.asked or "", tokenizer, *recalling)
            if own is not None:
                return own
        untold = self._one_of(self.facts.untold, history, tokenizer, sense)
        return untold and untold._replace(origin="told")

    def _recalled(
        self, told: Told, asked: str, tokenizer: Tokenizer, decoder: Decoder, state: State
    ) -> Judged | None:
        """Return what the net itself answers, where it does so by words of a sentence that may."""
        params = SamplingParams(temperature=0.0, max_tokens=MAX_RECALLED_TOKENS)
        [drawn] = reply_batch(decoder, state, params)
        text = tokenizer.decode(drawn.tokens)
        sure = drawn.nats <= MAX_RECALLED_NATS * (len(drawn.tokens) + 1)
        if not sure or not self.told.confirms(told, text, asked):
            return None
        return Judged(text, drawn.tokens, np.zeros(0), 1.0, "generate")

    def _one_of(
        self, replies: Sequence[str], history: History, tokenizer: Tokenizer, sense: float
    ) -> Judged | None:
        """Return one of some replies, another one after another message, that was not given yet."""
        first = crc32((history.asked or "").encode(errors="replace")) % max(1, len(replies))
        for reply in [*replies[first:], *replies[:first]]:
            tokens = tuple(tokenizer.encode(reply))
            if tokens not in history.said:
                return Judged(reply, tokens, np.zeros(0), sense)
        return None

    def _listening(self, history: History, tokenizer: Tokenizer) -> Judged | None:
        """Return what makes sense nearly everywhere, another one after another message."""
        asked = history.asked or ""
        if not 0 < len(words_of(asked)) <= MAX_WRITTEN_WORDS:
            return None
        replies = self.facts.unknowing if _asks(history) else self.facts.listening
        return self._one_of(replies, history, tokenizer, self.facts.bound)

    def nears(self, tokenizer: Tokenizer, histories: Sequence[History]) -> list[Near]:
        """Find what is written for what is like what was said, for each history."""
        said = [[*map(tokenizer.decode, history.said)] for history in histories]
        return nears_of(self.exchanges, histories, said)

    def judged(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        state: State,
        histories: Sequence[History],
        nears: Sequence[Near],
        limits: Habits,
        by_net: bool = True,
    ) -> list[list[Judged]]:
        """Tell how probably written replies make sense in each row of a state, as `best` does.

        Returns:
            For each row the replies that could be given, the best first.
        """
        found: list[list[tuple[Place, float, Tokens]]] = []
        for history, near in zip(histories, nears, strict=True):
            own = [(*each, tuple(tokenizer.encode(each[0].reply))) for each in near.places]
            shortened = _shortened(history)
            found.append([
                each
                for each in own
                if each[2] not in history.said and not beyond(each[2], shortened, limits, tokenizer)
            ])  # fmt: skip
        of_net = [np.zeros((len(row), 0)) for row in found]
        match = self.match if by_net else None
        if match is not None and any(found):
            replies = [[own[2] for own in row] for row in found]
            of_net = _by_net(decoder, state, replies, match)
        sense = self.facts.by_words if match is None else self.facts.by_all
        judged: list[list[Judged]] = []
        for row, history, numbers in zip(found, histories, of_net, strict=True):
            by_words = [
                list(self._by_words(place, support, history.heard[0])) for place, support, _ in row
            ]
            traits = np.concatenate(
                [np.reshape(by_words, (len(row), len(WORD_TRAITS))), numbers], 1
            )
            senses = sense(traits).tolist() if row else []
            every = [
                Judged(place.reply, tokens, *each)
                for (place, _, tokens), *each in zip(row, traits, senses, strict=True)
            ]
            judged.append(sorted(every, key=lambda each: -each.sense))
        return judged

    def _by_words(self, place: Place, support: float, last: str) -> Iterator[float]:
        """Tell `WORD_TRAITS`."""
        yield from (*place[2:], support)
        common = {*stems_of(place.reply)} & {*stems_of(last)}
        yield min(12.0, self.exchanges.meaning(common)) / 6
        yield len(words_of(place.reply)) / 8
        yield float(any(mark in place.reply for mark in QUESTION_MARKS))


def _asks(history: History) -> bool:
    """Tell whether the last message asks for something, with a question mark or without."""
    asked = history.asked or ""
    return any(mark in asked for mark in QUESTION_MARKS) or ASKING.match(asked) is not None


def nears_of(
    exchanges: Exchanges, histories: Sequence[History], said: Sequence[Sequence[str]]
) -> list[Near]:
    """Find what is written for what is like what was said, for each history and own replies."""
    return [
        exchanges.near(_shortened(history).heard, own)
        if history.heard and 0 < len(words_of(history.asked or "")) <= MAX_WRITTEN_WORDS
        else Near()
        for history, own in zip(histories, said, strict=True)
    ]


def _shortened(history: History) -> History:
    return history._replace(heard=[text[:MAX_LIKENED_CHARS] for text in history.heard])


def _by_net(
    decoder: Decoder,
    state: State,
    replies: Sequence[Sequence[Tokens]],
    match: Match,
) -> list[np.ndarray]:
    """Tell `NET_TRAITS` of each reply to each row of a state, (replies, 2)."""
    rows = [row for row, own in enumerate(replies) for _ in own]
    every = [tokens for own in replies for tokens in own]
    given = log_likelihoods(decoder, every, state, rows) / np.sqrt(lengths_with_end(every))
    sizes = [len(own) for own in replies]
    after = split(read_alone(decoder, every)[1], sizes)
    gains = match._replace(weight=1.0).gains(decoder, state, replies, after)
    belongs = np.concatenate(gains)
    return split(np.stack([given, belongs], 1), sizes)
