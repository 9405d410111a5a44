"""Which implementation reads and replies for the bot of a folder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder
from elman.model.config import ModelConfig
from elman.model.folder import WEIGHTS, folder_of, read_config, read_tokenizer
from elman.model.hub import downloaded, is_on_hub
from elman.native.library import load
from elman.runtime.compiled import CompiledDecoder, WeightPrecision
from elman.runtime.int8_weights import read_int8
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights, is_known, weights_of

MAX_INT8_LOSS = 0.002
"""How much worse a bot may predict held-out talk with int8 weights, as a share of its bits."""

INT8_LOSS = "int8_loss"
"""Where a bot's configuration keeps how much worse it does."""


def load_bot(
    folder: Path | str, precision: WeightPrecision | None = None, trust: Collection[str] = ()
) -> Bot:
    """Load the bot of a folder into the fastest implementation that can compute it.

    That is the compiled library. Where it does not run here, numpy takes over. A cell of a user's
    own needs torch.

    Args:
        folder: what training wrote; "base" or "languages": what comes with Elman, unless the
            bot of a folder is called so; `hf://OWNER/NAME`: one on the Hugging Face Hub.
        precision: of the weights that replies are made from; None: int8 where the bot's
            configuration says that this costs next to nothing, else float32.
        trust: cells from outside Elman (`my.module:Name`) whose code may be imported and run.

    Raises:
        ElmanError: where something of it is missing, damaged, does not belong together, or would
            run code that is not trusted.
    """
    folder = downloaded(str(folder)) if is_on_hub(folder) else folder_of(folder)
    config = read_config(folder, trust)
    if not is_known(ModelConfig.model_validate(config["model"])):
        from elman.generate.network import load_network_bot

        found = load_network_bot(folder, precision or "float32", trust)
        return replace(found, why="torch: its memory or a cell is not built in")
    tokenizer, (library, why) = read_tokenizer(folder), load()
    decoder: Decoder
    if library is None:
        precision, why, slower = "float32", f"numpy: {why}", True
        decoder = ReferenceDecoder(weights_of(folder, config, tokenizer))
    else:
        reason = ""
        if precision is None:
            precision, reason = affordable(config.get(INT8_LOSS))
        weights, wrong = None, ""
        if precision == "int8":
            weights, wrong = _kept_in_int8(folder, config, tokenizer)
        why, slower = f"{why}, {precision} weights{reason}{wrong}", bool(wrong)
        decoder = CompiledDecoder(weights or weights_of(folder, config, tokenizer), precision)
    logits, _ = decoder.begin_reply(decoder.initial_state(1))
    if not np.isfinite(logits).all():
        raise ElmanError(
            f"{folder / WEIGHTS}: numbers so large that no reply can be computed from them"
        )
    return Bot(decoder, tokenizer, config, folder, precision, why, slower)


def _kept_in_int8(
    folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer
) -> tuple[Weights | None, str]:
    """Read the int8 weights of a folder; None where there are none, and what is wrong with them."""
    model = ModelConfig.model_validate(config["model"])
    try:
        return read_int8(folder, model, tokenizer), ""
    except ElmanError as error:
        return None, f", rounded from {WEIGHTS}, since its int8 file cannot be used ({error})"


def affordable(loss: object) -> tuple[WeightPrecision, str]:
    """Return int8 where it costs next to nothing, else float32; and why, in brackets.

    Args:
        loss: what the bot's configuration says that int8 costs; None: nothing.
    """
    if not isinstance(loss, int | float):
        return "float32", " (what int8 would cost was not measured)"
    cost = f" (int8 takes {loss:.2%} more bits of held-out talk)"
    return "int8" if loss <= MAX_INT8_LOSS else "float32", cost


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
