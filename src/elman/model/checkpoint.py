"""A bot on disk: a folder of JSON and safetensors, written so that it is never half there."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from elman.bptt.decode import Precision
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model import build
from elman.model.array_files import ArrayHeader, check_header
from elman.model.chatbot import Chatbot
from elman.model.config import ModelConfig
from elman.model.folder import BASE as BASE
from elman.model.folder import CONFIG as CONFIG
from elman.model.folder import FORMAT as FORMAT
from elman.model.folder import TOKENIZER as TOKENIZER
from elman.model.folder import WEIGHTS as WEIGHTS
from elman.model.folder import folder_of, no_weights
from elman.model.folder import read_config as read_config
from elman.model.folder import read_tokenizer as read_tokenizer
from elman.model.folder import require_trust as require_trust
from elman.model.tensor_files import check_finite, digest, from_int8, spec_of, to_int8
from elman.model.tensor_files import read_tensors as read_tensors
from elman.model.tensor_files import write_tensors as write_tensors


def save_weights(
    folder: Path, chatbot: Chatbot, tokenizer: Tokenizer, precision: Precision = "float32"
) -> None:
    """Write the weights that the bot talks with.

    Args:
        folder: where.
        chatbot, tokenizer: whose.
        precision: int8 takes a quarter of the bytes; so it is for a bot that is given away.
    """
    tensors = chatbot.state_dict()
    tensors = to_int8(tensors) if precision == "int8" else tensors
    write_tensors(folder / WEIGHTS, tensors, {"tokenizer": tokenizer.digest})


class LoadedChatbot(NamedTuple):
    """A chatbot in evaluation mode, with what else its folder holds."""

    chatbot: Chatbot
    tokenizer: Tokenizer
    config: dict[str, Any]
    path: Path


def load_chatbot(
    folder: Path | str, precision: Precision = "float32", trust: Collection[str] = ()
) -> LoadedChatbot:
    """Load the chatbot of a run directory.

    Args:
        folder: what training wrote; "base" or "languages": what comes with Elman, unless the
            bot of a folder is called so.
        precision: of the weights that replies are made from.
        trust: cells from outside Elman (`my.module:Name`) whose code may be imported and run.

    Raises:
        ElmanError: where something of it is missing, damaged, does not belong together, or would
            run code that is not trusted.
    """
    folder = folder_of(folder)
    config = read_config(folder, trust)
    path = folder / WEIGHTS
    if not path.exists():
        raise ElmanError(no_weights(folder))
    tokenizer = read_tokenizer(folder)
    model = ModelConfig.model_validate(config["model"])

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        if facts.get("tokenizer") != tokenizer.digest:
            raise ElmanError(f"{folder}: {WEIGHTS} and {TOKENIZER} do not belong together")
        check_weights(path, header, model, tokenizer.vocabulary_size, int8=True)

    tensors = from_int8(read_tensors(path, check)[0])
    check_finite(path, tensors)
    chatbot = build(model, tokenizer.vocabulary_size)
    try:
        chatbot.load_state_dict(tensors)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ElmanError(f"{path}: does not fit {CONFIG}: {why}") from None
    chatbot.characters = tokenizer.characters
    chatbot.eval().pack_weights(precision)
    with torch.no_grad():
        logits, _ = chatbot.begin_reply(chatbot.initial_state(1))
    if not torch.isfinite(logits).all():
        raise ElmanError(f"{path}: numbers so large that no reply can be computed from them")
    return LoadedChatbot(chatbot, tokenizer, config, folder)


class _Unfilled(TorchFunctionMode):
    """Leave new weights as they are: to fill those of the meta device takes torch two seconds of
    imports.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def check_weights(
    path: Path, header: ArrayHeader, model: ModelConfig, vocabulary_size: int, int8: bool = False
) -> None:
    """Compare the header of weights with what a configuration asks for, and allocate nothing.

    With `int8`, matrices may be as `to_int8` makes them.

    Raises:
        ElmanError: where they do not fit.
    """
    with torch.device("meta"), _Unfilled():
        chatbot = build(model, vocabulary_size)
    expected = {name: spec_of(tensor) for name, tensor in chatbot.state_dict().items()}
    # Counts are as long as what was counted: they are looked at when they are loaded.
    for name in chatbot.of_any_size():
        if name in header:
            expected[name] = header[name]
    check_header(path, header, expected, CONFIG, int8)


def weights_digest(chatbot: Chatbot) -> str:
    """Digest the weights: a state is valid only for the weights that made it."""
    return digest(chatbot.state_dict())
