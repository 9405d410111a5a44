"""What `elman lens` looks at: a bot, one conversation, and held-out ones for the sample."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.bptt.decode import Precision
from elman.cli.learned import has_learned_from
from elman.data.conversation import SYSTEM, Conversation
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.errors import ElmanError
from elman.generate.scoring import is_scored
from elman.lens.as_json import to_json
from elman.lens.listening import listen
from elman.lens.view import ViewedMessage, look
from elman.model.checkpoint import Bot, load_bot
from elman.train.config import Config, DataConfig

LAG_CONVERSATIONS = 48
"""Conversations that the gradient by lag is drawn from, at most."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see: the options of the command."""

    bot: Path
    chat: str
    name: str | None
    number: int | None
    encoding: str | None
    precision: Precision
    seed: int
    compare_steps: int | None
    trust: tuple[str, ...] = ()


def look_at(wish: Wish, tell: Callable[[str], None]) -> dict[str, Any]:
    """Everything that the page and the terminal show, as plain JSON.

    Raises:
        ElmanError: where the bot or the conversations cannot be read, or the bot answers in none.
    """
    bot = load_bot(wish.bot, wish.precision, wish.trust)
    tell(f"reading {wish.chat}")
    saved = bot.data
    same = has_learned_from(bot, wish.chat)
    if saved.rename and wish.name is None and not same:
        raise ElmanError(
            "people were renamed for this bot, and get other names in other conversations: say who "
            "it is there, with --bot and the real name"
        )
    dataset = Dataset.read(
        wish.chat,
        wish.encoding or saved.encoding,
        bot=wish.name or saved.bot,
        lenient=True,
        **saved.view(),
    )
    chosen = _Chosen(bot, dataset, saved, wish, same)
    if wish.precision == "float32":
        view = look(bot.chatbot, chosen.said, chosen.others, seed=wish.seed, tell=tell)
    else:
        view = listen(bot.chatbot, chosen.said, wish.precision, tell)
    if chosen.learned:
        view.exact.append(
            "the conversation is one that the bot was trained or chosen with; the gradient by "
            "lag is of held-out ones"
        )
    if (steps := _unfinished(bot)) is not None:
        view.sampled.append(
            f"the run is not finished: these are its best weights at step {steps:,}"
        )
    seen = {
        "bot": str(wish.bot),
        "chat": wish.chat,
        "conversation": chosen.number,
        "conversations": chosen.count,
        "name": chosen.name,
        "seed": wish.seed,
        **_facts(bot, chosen.said),
        **to_json(view, bot.tokenizer),
    }
    if wish.compare_steps is not None:
        from elman.cli.compare import compared

        data = saved.model_dump(exclude={"path", "encoding", "bot", "known", "vocabulary", "gap"})
        seen["compare"] = compared(
            data
            | {
                "path": wish.chat,
                "encoding": wish.encoding or saved.encoding,
                "bot": wish.name or saved.bot,
            },
            wish.compare_steps,
            wish.seed,
            tell,
        )
    return seen


class _Chosen:
    """One conversation, and some held-out ones, found in one pass over the data.

    Args:
        bot: who looks at them.
        dataset: the conversations.
        saved: how the bot sees them.
        wish: which is to be shown.
        same: whether the bot has learned from this data; then only its held-out part is drawn from.
    """

    def __init__(
        self, bot: Bot, dataset: Dataset, saved: DataConfig, wish: Wish, same: bool
    ) -> None:
        self._bot, self._dataset, self._learn_from = bot, dataset, saved.learn_from
        self.count, self.number = 0, 0
        found: Conversation | None = None
        for each in dataset.conversations():
            self.count += 1
            if found is None and (
                self.count == wish.number or (wish.number is None and self._answers(each))
            ):
                found, self.number = each, self.count
        if found is None:
            raise ElmanError(self._missing(wish))
        if not self._answers(found):
            raise ElmanError(
                f"{wish.chat}: in conversation {self.number:,} {self._who()} never answers, so no "
                "loss reaches back; leave out --conversation for the first in which that happens"
            )
        self.name = dataset.bot or "the bot"
        self.said = self._as_said(found)
        drawn = self._drawn(saved.test, wish.seed) if same else self._drawn(None, wish.seed)
        self.learned = same and all(each.id != found.id for each in drawn)
        self.others = [self._as_said(each) for each in drawn]

    def _drawn(self, test: bool | None, seed: int) -> list[Conversation]:
        """A sample of fixed size in one pass (Vitter's algorithm R).

        Args:
            test: None: of all conversations; else of those that are held out, of which some may
                be a test part.
            seed: of the draw.
        """
        if test is None:
            source = self._dataset.conversations()
        else:
            source = (each for part, each in self._dataset.parts(test) if part != "train")
        rng = np.random.default_rng(seed)
        drawn: list[Conversation] = []
        for heard, each in enumerate(source, 1):
            if len(drawn) < LAG_CONVERSATIONS:
                drawn.append(each)
            elif (place := int(rng.integers(heard))) < LAG_CONVERSATIONS:
                drawn[place] = each
        return drawn

    def _who(self) -> str:
        return self._dataset.bot or "the bot"

    def _missing(self, wish: Wish) -> str:
        if wish.number is not None and wish.number > self.count:
            return (
                f"--conversation {wish.number:,}: {wish.chat} has {self.count:,} "
                f"conversation{'s' if self.count != 1 else ''}"
            )
        return (
            f"{wish.chat}: {self._who()} never answers anybody in its {self.count:,} "
            "conversations; say who the bot is there with --bot NAME"
        )

    def _answers(self, conversation: Conversation) -> bool:
        turns = conversation.turns(self._dataset.bot, self._dataset.others)
        wanted = ("bot",) if self._learn_from == "bot" else ("bot", "user")
        return any(turn.role in wanted for turn in turns[1:])

    def _as_said(self, conversation: Conversation) -> list[ViewedMessage]:
        corpus = Corpus.encode(
            [conversation], self._bot.tokenizer, self._dataset.bot, self._dataset.others
        )
        turns = conversation.turns(self._dataset.bot, self._dataset.others)
        return [
            ViewedMessage(
                "" if author == SYSTEM else author,
                turn.role,
                turn.text,
                tokens,
                is_scored(tokens, self._learn_from),
            )
            for (author, _), turn, tokens in zip(
                conversation.runs(), turns, corpus.messages(0), strict=True
            )
        ]


def _facts(bot: Bot, said: list[ViewedMessage]) -> dict[str, Any]:
    """What the bot is, and how far back it was unfolded."""
    config = Config.make(bot.config)
    tokens = sum(len(each.tokens) for each in said) / len(said)
    messages = config.train.unfold / (tokens if config.train.unit == "steps" else 1)
    model = config.model
    return {
        "memory": model.memory,
        "step_unit": bot.chatbot.step_unit,
        "cell": bot.chatbot.through_time.cell_name,
        "hidden_size": model.hidden_size,
        "parameters": sum(p.numel() for p in bot.chatbot.parameters()),
        "learn_from": config.data.learn_from,
        "unfold": {
            "count": config.train.unfold,
            "unit": "tokens" if config.train.unit == "steps" else "messages",
            "messages": round(messages, 1),
        },
        "messages_in_all": len(said),
        "tokens_per_message": round(tokens, 1),
    }


def _unfinished(bot: Bot) -> int | None:
    """How many steps a run has made that still goes on, or could."""
    from elman.train.resuming import RESUME, read_resume

    if not (bot.path / RESUME).exists():
        return None
    _, facts = read_resume(bot.path, Config.make(bot.config), bot.tokenizer.vocabulary_size)
    return None if facts["finished"] else int(facts["trainer"]["steps"])
