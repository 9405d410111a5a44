"""Which implementation reads and replies for the bot of a folder."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.generate.decoder import Decoder
from elman.model.config import ModelConfig
from elman.model.folder import folder_of, read_config
from elman.native.library import load
from elman.runtime.compiled import CompiledDecoder, WeightPrecision
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights, is_known, load_weights

MAX_INT8_LOSS = 0.002
"""How much worse a bot may predict held-out talk with int8 weights, as a share of its bits."""

INT8_LOSS = "int8_loss"
"""Where a bot's configuration keeps how much worse it does."""


class LoadedDecoder(NamedTuple):
    """A decoder, and in words what it is and why."""

    decoder: Decoder
    why: str


def load_decoder(
    folder: Path | str, precision: WeightPrecision | None = None, trust: Collection[str] = ()
) -> LoadedDecoder:
    """Load the bot of a folder into the fastest implementation that can compute it.

    That is the compiled library. Where it does not run here, numpy takes over. A cell of a user's
    own needs torch.

    Args:
        folder: of the bot; "base": that which comes with Elman.
        precision: of the weights that the library reads; None: int8 where the bot's configuration
            says that this costs next to nothing, else float32.
        trust: cells from outside Elman whose code may be imported and run.

    Raises:
        ElmanError: where the bot cannot be loaded.
    """
    folder = folder_of(folder)
    config = read_config(folder, trust)
    if not is_known(ModelConfig.model_validate(config["model"])):
        from elman.generate.network import decoder_of
        from elman.model.checkpoint import load_bot

        found = load_bot(folder, precision or "float32", trust)
        return LoadedDecoder(decoder_of(found), "torch: a cell of this bot is not built in")
    weights, (library, why) = load_weights(folder, trust), load()
    if library is None:
        return LoadedDecoder(ReferenceDecoder(weights), f"numpy: {why}")
    if precision is None:
        loss = config.get(INT8_LOSS)
        costs_little = isinstance(loss, int | float) and loss <= MAX_INT8_LOSS
        precision = "int8" if costs_little else "float32"
    return LoadedDecoder(CompiledDecoder(weights, precision), f"{why}, {precision} weights")


def int8_loss(weights: Weights, rows: Sequence[np.ndarray]) -> float:
    """Measure how much worse a bot predicts talk with int8 weights, as a share of its bits.

    Args:
        weights: of the bot.
        rows: the tokens of conversations that it has not learned from.
    """

    def nats(precision: WeightPrecision) -> float:
        decoder = CompiledDecoder(weights, precision)
        found = decoder.run(rows, decoder.initial_state(len(rows)), "nats").nats
        return float(sum(own.sum() for own in found))

    exact = nats("float32")
    return nats("int8") / exact - 1
