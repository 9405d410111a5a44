"""What `elman lens` looks at: a bot, one conversation, and held-out ones for the sample."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from elman.cli.learned import has_learned_from, name_there, read_as
from elman.cli.lens import Wish
from elman.cli.options import as_precision
from elman.data.conversation import SYSTEM, Conversation
from elman.data.corpus import Corpus, is_scored
from elman.data.dataset import Dataset
from elman.errors import ElmanError
from elman.generate.network import NetworkBot, load_network_bot
from elman.lens.as_json import to_json
from elman.lens.listening import listen
from elman.lens.view import ViewedMessage, look
from elman.train.config import Config

LAG_CONVERSATIONS = 48
"""Conversations that the gradient by lag is drawn from, at most."""


def look_at(
    folder: Path,
    chat: str,
    wish: Wish,
    tell: Callable[[str], None] = lambda _: None,
    trust: Collection[str] = (),
) -> dict[str, Any]:
    """Return everything that the page and the terminal show, as plain JSON.

    Raises:
        ElmanError: where the bot or the conversations cannot be read, or the bot answers in none.
    """
    precision = as_precision(wish.precision)
    bot = load_network_bot(folder, precision, trust)
    tell(f"reading {chat}")
    same = has_learned_from(bot, chat)
    dataset = read_as(bot, chat, wish.encoding, wish.name)
    reader = _Reader(bot, dataset)
    number, count, found = reader.find(chat, wish.number)
    said = reader.read(found)
    source = dataset.conversations()
    if same:  # then only the held-out ones among them are drawn from
        source = (each for part, each in dataset.parts(bot.data.test) if part != "train")
    drawn = _drawn(source, wish.seed)
    if precision == "float32":
        others = [reader.read(each) for each in drawn]
        view = look(bot.chatbot, said, others, seed=wish.seed, tell=tell)
    else:
        view = listen(bot.chatbot, said, precision, tell)
    if same and all(each.id != found.id for each in drawn):
        view.exact.append(
            "the conversation is one that the bot was trained or chosen with; the gradient by "
            "lag is of held-out ones"
        )
    if (steps := _unfinished(bot)) is not None:
        view.sampled.append(
            f"the run is not finished: these are its best weights at step {steps:,}"
        )
    seen = {
        "bot": str(folder),
        "chat": chat,
        "conversation": number,
        "conversations": count,
        "name": reader.name,
        "seed": wish.seed,
        **_facts(bot, said),
        **to_json(view, bot.tokenizer),
    }
    if wish.compare:
        from elman.cli.compare import compared

        data = bot.data.model_dump(exclude={"known", "vocabulary", "gap"}) | {
            "path": chat,
            "encoding": wish.encoding or bot.data.encoding,
            "bot": name_there(bot, wish.name),
        }
        seen["compare"] = compared(data, wish.compare_steps, wish.seed, tell)
    return seen


class _Reader:
    """Read conversations as a bot sees them."""

    def __init__(self, bot: NetworkBot, dataset: Dataset) -> None:
        self._bot, self._dataset, self._learn_from = bot, dataset, bot.data.learn_from
        self.name = dataset.bot or "the bot"

    def find(self, chat: str, number: int | None) -> tuple[int, int, Conversation]:
        """Find a conversation by its number; None: the first in which the bot answers.

        Returns:
            Its number from 1, how many there are, and the conversation.
        """
        count, place = 0, 0
        found: Conversation | None = None
        for count, each in enumerate(self._dataset.conversations(), 1):
            if found is None and (count == number or (number is None and self._answers(each))):
                found, place = each, count
        if found is None and number is not None:
            raise ElmanError(
                f"--conversation {number:,}: {chat} has {count:,} "
                f"conversation{'s' if count != 1 else ''}"
            )
        if found is None:
            raise ElmanError(
                f"{chat}: {self.name} never answers anybody in its {count:,} conversations; say "
                "who the bot is there with --bot NAME"
            )
        if not self._answers(found):
            raise ElmanError(
                f"{chat}: in conversation {place:,} {self.name} never answers, so no loss reaches "
                "back; leave out --conversation for the first in which that happens"
            )
        return place, count, found

    def _answers(self, conversation: Conversation) -> bool:
        turns = conversation.turns(self._dataset.bot, self._dataset.others)
        wanted = ("bot",) if self._learn_from == "bot" else ("bot", "user")
        return any(turn.role in wanted for turn in turns[1:])

    def read(self, conversation: Conversation) -> list[ViewedMessage]:
        """Return the messages of a conversation, each with its tokens."""
        bot, others = self._dataset.bot, self._dataset.others
        corpus = Corpus.encode([conversation], self._bot.tokenizer, bot, others)
        return [
            ViewedMessage(
                "" if author == SYSTEM else author,
                turn.role,
                turn.text,
                tokens,
                is_scored(tokens, self._learn_from),
            )
            for (author, _), turn, tokens in zip(
                conversation.runs(),
                conversation.turns(bot, others),
                corpus.messages(0),
                strict=True,
            )
        ]


def _drawn(source: Iterable[Conversation], seed: int) -> list[Conversation]:
    """Draw a sample of fixed size in one pass (Vitter's algorithm R)."""
    rng = np.random.default_rng(seed)
    drawn: list[Conversation] = []
    for heard, each in enumerate(source, 1):
        if len(drawn) < LAG_CONVERSATIONS:
            drawn.append(each)
        elif (place := int(rng.integers(heard))) < LAG_CONVERSATIONS:
            drawn[place] = each
    return drawn


def _facts(bot: NetworkBot, said: list[ViewedMessage]) -> dict[str, Any]:
    """Say what the bot is, and how far back it was unfolded."""
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


def _unfinished(bot: NetworkBot) -> int | None:
    """Count the steps of a run that still goes on, or could; None: it has ended."""
    from elman.train.checkpoints import last_checkpoint, read_checkpoint

    path = last_checkpoint(bot.home)
    if path is None:
        return None
    _, facts = read_checkpoint(path, Config.make(bot.config), bot.tokenizer.vocabulary_size)
    return None if facts["ended"] else int(facts["trainer"]["steps"])
