"""Replies that somebody wrote: of those to what is like what was said, the one that most probably
makes sense here.

A small net speaks, and often beside the point. A bot's folder may hold exchanges: what a person
says, and the answer that somebody wrote for it (`elman.generate.exchanges` finds them). A logistic
regression tells of the nearest replies how probably each makes sense (`elman.generate.judging`): of
how like the places are, in words and in what these mean, how alike the replies to them are, and
what the net makes of the best of them. It was learned from replies that readers had judged
(recipes/written.py). Where none makes sense probably enough, it is said that somebody listens
(`elman.generate.listening`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import reply_batch
from elman.generate.exchanges import Exchanges, Near, sentences_of
from elman.generate.judging import Judge, Judged, shorter
from elman.generate.listening import ways
from elman.generate.manners import has_question
from elman.generate.match import Match
from elman.generate.penalties import Habits, History, words_of
from elman.generate.sampling import SamplingParams
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

FITS_SOMEWHAT = 0.5
"""How probably a reply must make sense to be given sooner than that, where it has just listened."""

MAX_RECALLED_TOKENS = 30
"""Tokens in which the net says what it recalls of what was told,"""

MAX_RECALLED_NATS = 0.5
"""and -log p of each, on average, at most: else it is not sure enough."""


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
        asking = AskingWords(self.exchanges.arrays.asking, facts.told.bias)
        self.told = ToldFinder(self.exchanges, asking, facts.told)
        self.judge = Judge(self.exchanges, facts, self.match)
        """Tells how probably a reply makes sense."""

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
        try:
            exchanges = Exchanges(arrays)
        except ValueError as error:
            raise ElmanError(f"{path}: {error}: delete it") from None
        return cls(exchanges, ranking, Match.read(bot))

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
            judged = self.judge(decoder, tokenizer, state, own, there, limits, by_net)
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
        again = any(map(self.facts.listening.has, lately)) and not _asks(history)
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
        untold, asked = self.facts.untold, history.asked or ""
        new = self._new_of(([untold[n]] for n in ways(len(untold), asked)), history, tokenizer)
        return new and new._replace(sense=sense, origin="told")

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

    def _listening(self, history: History, tokenizer: Tokenizer) -> Judged | None:
        """Return what makes sense nearly everywhere, and of which nothing was said yet."""
        asked = history.asked or ""
        if not 0 < len(words_of(asked)) <= MAX_WRITTEN_WORDS:
            return None
        listening = self.facts.listening
        every = listening.to_question if _asks(history) else listening.to_statement
        return self._new_of(every(asked), history, tokenizer)

    def _new_of(
        self, every: Iterable[list[str]], history: History, tokenizer: Tokenizer
    ) -> Judged | None:
        """Return the first of some replies, each in parts, of which no part was said yet."""
        texts = [*map(tokenizer.decode, history.said)]
        said = {*texts, *(each for text in texts for each in sentences_of(text))}
        for parts in every:
            if said.isdisjoint(parts):
                reply = " ".join(parts)
                tokens = tuple(tokenizer.encode(reply))
                return Judged(reply, tokens, np.zeros(0), self.facts.bound)
        return None

    def nears(self, tokenizer: Tokenizer, histories: Sequence[History]) -> list[Near]:
        """Find what is written for what is like what was said, for each history."""
        said = [[*map(tokenizer.decode, history.said)] for history in histories]
        return nears_of(self.exchanges, histories, said)


def _asks(history: History) -> bool:
    """Tell whether the last message asks for something, with a question mark or without."""
    asked = history.asked or ""
    return has_question(asked) or ASKING.match(asked) is not None


def nears_of(
    exchanges: Exchanges, histories: Sequence[History], said: Sequence[Sequence[str]]
) -> list[Near]:
    """Find what is written for what is like what was said, for each history and own replies."""
    return [
        exchanges.near(shorter(history).heard, own)
        if history.heard and 0 < len(words_of(history.asked or "")) <= MAX_WRITTEN_WORDS
        else Near()
        for history, own in zip(histories, said, strict=True)
    ]
