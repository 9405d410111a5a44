"""Batches of two corpora side by side: what is new, and what was learned before."""

from dataclasses import fields
from typing import Any

import torch

from elman.data.corpus import Corpus
from elman.data.layout import Batch, Layout
from elman.data.message_stream import MessageWindow
from elman.data.stream import Window
from elman.errors import ElmanError
from elman.model.chatbot import Batches, Chatbot


class MixedBatches:
    """Endless batches of which some rows are new and the others replay.

    Args:
        chatbot: for whose memory the batches are.
        new, replay: what the rows read; without `replay`, all rows are new.
        layout: of the rows of `new`.
        replay_rows: how many rows are replay.
    """

    def __init__(
        self, chatbot: Chatbot, new: Corpus, replay: Corpus, layout: Layout, replay_rows: int
    ) -> None:
        self.new: Batches = chatbot.batches(new, layout)
        self._replay: Batches | None = None
        if replay_rows:
            given = vars(layout) | {"batch_size": replay_rows}
            self._replay = chatbot.batches(replay, Layout(**given))

    @property
    def epochs(self) -> float:
        """How many times the new corpus has been handed out."""
        return self.new.epochs

    def next(self) -> Batch:
        """Make the next batch."""
        batch = self.new.next()
        return batch if self._replay is None else side_by_side(batch, self._replay.next())

    def state_dict(self) -> dict[str, Any]:
        raise ElmanError("an update is not resumed: it begins again")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise ElmanError("an update is not resumed: it begins again")


def side_by_side(one: Batch, other: Batch) -> Batch:
    """Make one batch of the rows of two.

    Raises:
        ElmanError: for batches of a memory that is not built in.
    """
    if isinstance(one, MessageWindow) and isinstance(other, MessageWindow):
        return MessageWindow([*one.rows, *other.rows])
    if isinstance(one, Window) and isinstance(other, Window):
        cut = None if one.cut is None or other.cut is None else torch.cat([one.cut, other.cut], 1)
        names = [each.name for each in fields(one) if each.name != "cut"]
        parts = {name: torch.cat([getattr(one, name), getattr(other, name)], 1) for name in names}
        return Window(**parts, cut=cut)
    raise ElmanError("this bot's memory is not built in, and cannot be updated")
