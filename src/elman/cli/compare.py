"""Vanishing and exploding, seen: short training runs of three cells, with and without clipping."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from elman.data.corpus import is_scored
from elman.errors import ElmanError
from elman.lens.lags import draw_replies, lags
from elman.model.chatbot import Chatbot
from elman.model.embeddings import MAX_NEIGHBOUR_TOKENS, begin_with
from elman.train.config import Config
from elman.train.prepare import Data, prepare
from elman.train.runlog import Tell
from elman.train.schedule import rate
from elman.train.trainer import Trainer

COMPARED_CELLS = ("rnn", "gru", "lstm")
CLIPS = (1.0, 0.0)

COMPARED_HIDDEN_SIZE, COMPARED_LAYERS, COMPARED_VOCABULARY = 96, 2, 1024
COMPARED_BATCH_SIZE, COMPARED_UNFOLD = 8, 96

COMPARED_LR = 4.0
"""Learning rate of SGD with momentum, four times what train takes: a long gradient does harm."""

COMPARED_REPLIES, COMPARED_LAGS = 24, 12

MAX_CURVE_POINTS = 200


def compared(
    data: dict[str, Any], steps: int, seed: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Train the six networks and follow their gradients back.

    Returns:
        The runs, and in words what they have in common, as plain JSON.
    """
    config = Config.make(
        {
            "data": data | {"vocabulary": COMPARED_VOCABULARY},
            "model": {"layers": COMPARED_LAYERS, "hidden_size": COMPARED_HIDDEN_SIZE},
            "train": {
                "steps": steps, "optimizer": "sgd", "lr": COMPARED_LR, "weight_decay": 0,
                "batch_size": COMPARED_BATCH_SIZE, "unfold": COMPARED_UNFOLD,
                "pointer_loss_weight": 0, "precision": "float32", "seed": seed,
            },
        }
    )  # fmt: skip
    tell("reading what the six networks learn from")
    prepared = prepare(config, Tell(()))
    runs = [_run(prepared, cell, clip, tell) for cell in COMPARED_CELLS for clip in CLIPS]
    return {
        "words": f"Six networks of {COMPARED_LAYERS} layers of {COMPARED_HIDDEN_SIZE} learn from "
        f"this data for {steps:,} steps of SGD with momentum, at a learning rate of "
        f"{COMPARED_LR:g} that is too large on purpose, unfolded over {COMPARED_UNFOLD} tokens: "
        "the same size, seed and order, each with its "
        "gradient clipped to 1 and without. A gradient that vanishes falls steeply with the "
        "messages it goes back; one that explodes throws the weights away.",
        "runs": runs,
    }


def _run(data: Data, cell: str, clip: float, tell: Callable[[str], None]) -> dict[str, Any]:
    name = f"{cell.upper()}, {'clipped' if clip else 'not clipped'}"
    config = data.config.changed(model={"cell": cell}, train={"clip": clip})
    trainer = Trainer.of(config, data)
    chatbot, seed, steps = trainer.chatbot, config.train.seed, config.train.steps or 0
    begin_with(chatbot, data.train.first_tokens(MAX_NEIGHBOUR_TOKENS), seed)
    loss: list[float] = []
    norm: list[float] = []
    ended = None
    for step in range(steps):
        tell(f"{name}: step {step + 1:,} of {steps:,}")
        try:
            metrics = trainer.step(rate(step / steps, config.train.warmup))
        except ElmanError:  # no longer a number; the weights are those before it
            ended = f"exploded at step {step + 1:,}"
            break
        loss.append(metrics.loss)
        norm.append(metrics.grad_norm)
    # Of what an explosion leaves, nothing is learned: it is no network any more.
    found = None if ended else _lags(chatbot, data, seed)
    every = max(1, -(-steps // MAX_CURVE_POINTS))
    parts = [slice(n, n + every) for n in range(0, len(loss), every)]
    return {
        "cell": cell,
        "clip": clip,
        "every": every,
        "loss": [_rounded(fmean(loss[part])) for part in parts],
        "norm": [_rounded(max(norm[part])) for part in parts],
        "lags": None if found is None else [_rounded(value) for value in found[0]],
        "reach": None if found is None else found[1],
        "ended": ended,
        "parameters": sum(p.numel() for p in chatbot.parameters()),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _lags(chatbot: Chatbot, data: Data, seed: int) -> tuple[list[float], int] | None:
    """Measure the trained network's gradient by messages back, over held-out replies."""
    corpus = data.train if data.dev is None else data.dev
    conversations = [corpus.messages(n) for n in range(min(len(corpus), 100))]
    learn_from = data.config.data.learn_from
    replies = draw_replies(
        conversations,
        [[is_scored(message, learn_from) for message in own] for own in conversations],
        replies=COMPARED_REPLIES,
        most=COMPARED_LAGS,
        heard=0,
        seed=seed,
    )
    if not replies:
        return None
    found = lags(chatbot, replies, COMPARED_LAGS)
    if not bool(found.whole.isfinite().all()):
        return None
    return found.whole.tolist(), found.reach[0]
