"""Learn by which the base tells whether a reply belongs to what was said.

    python recipes/match.py --bot FOLDER                      # ten minutes of one core

Two linear maps are learned on conversations that were written for the base (talk/): of the state
after a message, and of the state after a reply alone. The cosine of the two shall be higher for the
real reply than for those to other messages (a dual encoder, Lowe et al. 2015; the loss is InfoNCE,
van den Oord et al. 2018). `elman.generate.match` ranks replies by it.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import mixture
import numpy as np
import torch
from talk import conversations, is_measured
from torch.nn.functional import cross_entropy, normalize

from elman import load_bot
from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus, is_scored
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder
from elman.generate.likelihood import read_alone
from elman.generate.match import LinearMap, Match
from elman.generate.positions import is_reply
from elman.generate.scoring import walk

CONVERSATIONS = 12_000
"""Of those that were written for the base, from which it is learned. In people's chats a reply is
one of thousands that would do, and less is learned of what belongs (LOG.md).
"""

DIRECTIONS = 64
"""Numbers that are compared."""

WEIGHT = 8.0
"""What a reply's score gains for each unit of cosine. In 200 places of held-out talk the real reply
was found among ten in 53 % without it, 70.5 % with 8 and 74.5 % with 24; replies to 59 invented
messages read best with 8.
"""

CROWD = 256
"""States with which each reply is compared, so that none is said for being near to all."""

PASSES, BATCH, RATE, DROPOUT, WEIGHT_DECAY = 12, 512, 2e-3, 0.4, 0.05


class Pairs(NamedTuple):
    """Replies, and where each was given.

    Args:
        states: (N, S) float16, after the message that is answered.
        reply: (N,) the number of the reply to it.
        own: (R, S) float16, the state after each different reply alone.
    """

    states: np.ndarray
    reply: np.ndarray
    own: np.ndarray


def gather(decoder: Decoder, corpus: Corpus) -> Pairs:
    """Read conversations, and return the bot's replies with the states before them."""
    states, said = [], []
    for step in walk(decoder, corpus):
        rows = [
            row
            for row, (message, n) in enumerate(zip(step.messages, step.numbers, strict=True))
            if n > 0 and is_scored(message, "bot") and is_reply(message)
        ]
        if rows:
            states.append(decoder.vectors(decoder.select(step.before, rows)).astype(np.float16))
            said += [tuple(step.messages[row][1:-1].tolist()) for row in rows]
    number = {tokens: n for n, tokens in enumerate(dict.fromkeys(said))}
    own = read_alone(decoder, list(number))[1].astype(np.float16)
    return Pairs(np.concatenate(states), np.array([number[t] for t in said]), own)


def learn_maps(pairs: Pairs) -> tuple[LinearMap, LinearMap]:
    """Learn by which states and replies belong together."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    scales = [_scale(each, random) for each in (pairs.states, pairs.own)]
    weights = [
        (torch.randn(each.shape[1], DIRECTIONS) / each.shape[1] ** 0.5).requires_grad_()
        for each in (pairs.states, pairs.own)
    ]
    log_scale = torch.tensor(2.0, requires_grad=True)
    optimizer = torch.optim.AdamW([*weights, log_scale], lr=RATE, weight_decay=WEIGHT_DECAY)
    batches = len(pairs.states) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=PASSES * batches + 1
    )
    for number in range(PASSES):
        order, loss_sum = random.permutation(len(pairs.states)), 0.0
        for n in range(batches):
            some = np.sort(order[n * BATCH : (n + 1) * BATCH])
            numbers = pairs.reply[some]
            sides = [
                normalize(torch.dropout(_scaled(part, scale), DROPOUT, train=True) @ weight, dim=1)
                for part, scale, weight in zip(
                    (pairs.states[some], pairs.own[numbers]), scales, weights, strict=True
                )
            ]
            logits = log_scale.exp() * sides[0] @ sides[1].T
            same = torch.from_numpy(numbers[:, None] == numbers) & ~torch.eye(BATCH).bool()
            logits = logits.masked_fill(same, -1e4)
            real = torch.arange(BATCH)
            loss = (cross_entropy(logits, real) + cross_entropy(logits.T, real)) / 2
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += loss.item()
        print(f"match: pass {number + 1}, {loss_sum / max(1, batches):.3f} nats", flush=True)
    maps = [
        LinearMap(mean, weight.detach().numpy() / spread[:, None])
        for (mean, spread), weight in zip(scales, weights, strict=True)
    ]
    return maps[0], maps[1]


def _scale(vectors: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    some = vectors[np.sort(random.permutation(len(vectors))[:8192])].astype(np.float32)
    return some.mean(0), some.std(0).clip(1e-3)


def _scaled(vectors: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy((vectors.astype(np.float32) - scale[0]) / scale[1])


def write(bot: Bot) -> None:
    """Write what was learned into a bot's folder, by whose states."""
    pairs = gather(bot.decoder, read(bot))
    asked, answered = learn_maps(pairs)
    crowd = np.sort(np.random.default_rng(5).permutation(len(pairs.states))[:CROWD])
    Match(asked, answered, asked(pairs.states[crowd]), WEIGHT).save(bot)
    print(f"{bot.path}: learned from {len(pairs.states):,} replies which belong")


def read(bot: Bot) -> Corpus:
    """Encode some of the conversations."""
    every = [
        Conversation(tuple(Message(turn.speaker, turn.text) for turn in turns), id_)
        for id_, turns in conversations()
        if not is_measured(id_)
    ]
    random = np.random.default_rng(0)
    some = [every[n] for n in random.permutation(len(every))[:CONVERSATIONS]]
    return Corpus.encode(some, bot.tokenizer, mixture.BOT, bot.data.others)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bot", type=Path, required=True)
    write(load_bot(parser.parse_args().bot))


if __name__ == "__main__":
    main()
