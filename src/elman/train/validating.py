"""Validation: held-out conversations are scored, and the best weights are kept."""

import math
import time
from pathlib import Path

from elman.errors import ElmanError
from elman.generate.network import NetworkDecoder
from elman.generate.scoring import bits_per_byte
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import save_weights
from elman.model.folder import WEIGHTS
from elman.model.tensor_files import read_tensors
from elman.train.checkpoints import checkpoint_path, read_checkpoint, weights_in
from elman.train.finishing import tokens_read
from elman.train.prepare import Data
from elman.train.runlog import Tell
from elman.train.samples import Samples

MAX_REPLYING_SHARE = 0.15
"""The share of a budget in minutes that is reserved at most for learning to reply at the end."""


class Validator:
    """Score held-out conversations, and keep the best weights in the bot's folder.

    Args:
        out: the run directory.
        data: what is held out, and the run's configuration.
        tell: told of scores and samples.
    """

    def __init__(self, out: Path, data: Data, tell: Tell) -> None:
        self._out, self._data, self._tell = out, data, tell
        self._config = config = data.config
        self._samples = Samples(data.dev or data.train, data.tokenizer, config.data.learn_from)
        self.best: float | None = None
        """Bits per byte of the best weights; None before the first score."""
        self.best_step: int | None = None
        """The step that made the weights that are kept."""
        self.worse = 0
        """Scores since the best one."""
        self.replying_seconds = 0.0
        """About what learning to reply will take at the end."""

    def __call__(self, chatbot: Chatbot, step: int, seconds: float) -> bool:
        """Score a chatbot, and keep its weights if they are the best so far.

        Args:
            chatbot: as it is after the step.
            step: made in all.
            seconds: spent in all.

        Returns:
            Whether the score is a number; where it is none, nothing is kept.
        """
        config, data = self._config, self._data
        if data.dev is None:
            self.keep(chatbot, step)
        else:
            begin = time.monotonic()
            found = bits_per_byte(
                NetworkDecoder(chatbot), data.dev, data.tokenizer, config.data.learn_from
            )
            if not math.isfinite(found):
                return False
            elapsed = time.monotonic() - begin
            self.replying_seconds = min(
                tokens_read(config, data) * elapsed / data.dev.tokens,
                MAX_REPLYING_SHARE * 60 * (config.train.minutes or 0),
            )
            best = self.best is None or found < self.best
            self.worse = 0 if best else self.worse + 1
            if best:
                self.best = found
                self.keep(chatbot, step)
            self._tell(
                "validation",
                step=step,
                bits_per_byte=round(found, 4),
                best=best,
                seconds=round(seconds + elapsed, 2),
            )
        if replies := self._samples(chatbot):
            self._tell("samples", step=step, samples=replies)
        return True

    def keep(self, chatbot: Chatbot, step: int) -> None:
        """Write weights into the bot's folder."""
        save_weights(self._out, chatbot, self._data.tokenizer)
        self.best_step = step

    def check_kept(self, chatbot: Chatbot, step: int) -> None:
        """Make the weights in the bot's folder again where they are gone or damaged.

        The checkpoint of their step has them. Where that is gone too, the best from here on is
        kept, and that is told.

        Args:
            chatbot: of the run that goes on; it is changed and changed back.
            step: that it has made.
        """
        path = self._out / WEIGHTS
        try:
            read_tensors(path)
            return
        except ElmanError as error:
            why = str(error)
        now = {name: tensor.clone() for name, tensor in chatbot.state_dict().items()}
        kept = checkpoint_path(self._out, step if self.best_step is None else self.best_step)
        try:
            tensors, _ = read_checkpoint(kept, self._config, self._data.tokenizer.vocabulary_size)
        except ElmanError:
            self._tell.note(
                f"{why}; {kept.name} is not there or damaged too, so the best weights so far are "
                "lost: the best from here on are kept"
            )
            self.best, self.worse = None, 0
            self.keep(chatbot, step)
            return
        self._tell.note(f"{why}; made again from {kept.name}")
        chatbot.load_state_dict(weights_in(tensors))
        save_weights(self._out, chatbot, self._data.tokenizer)
        chatbot.load_state_dict(now)
