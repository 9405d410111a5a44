"""How long a reply takes: made and ranked by the base bot, and found among what people said.

    python benchmarks/reply_speed.py

A made reply has exactly 20 tokens, its end being forbidden, and is the best of 8. A found one is
searched among 100,000 and 1,000,000 places of as many different replies, drawn by chance. The
history is 20 messages long; its length does not matter, since the state is what is read.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from machine import describe

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, SPECIALS
from elman.generate.index import ReplyIndex, unit
from elman.generate.index_files import DIRECTIONS
from elman.generate.network import load_network_bot
from elman.generate.rerank import Ranking, best_drawn
from elman.generate.sampling import SamplingParams

TOKENS = 20
MESSAGES = 20


def index_of(number: int, size: int, vocabulary: int) -> ReplyIndex:
    """Places by chance, in states of that size, each with a reply of about 12 tokens by chance."""
    draw = np.random.default_rng(0)
    places = unit(draw.normal(size=(number, DIRECTIONS))).astype(np.float32)
    replies = [
        tuple(draw.integers(SPECIALS, vocabulary, draw.integers(4, 20)).tolist())
        for _ in range(number)
    ]
    directions = draw.normal(size=(size, DIRECTIONS)).astype(np.float32)
    centre = np.zeros(size, np.float32)
    alone = -3.0 * draw.random(number)
    numbers = np.arange(number, dtype=np.int32)
    return ReplyIndex(centre, directions, places, numbers, replies, alone, np.zeros((3, 0)))


def milliseconds(action: Callable[[], object], times: int) -> float:
    action()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        found.append(1000 * (time.perf_counter() - begin))
    return median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--most", type=int, default=1_000_000, help="places of the largest index")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(describe())
    bot = load_network_bot("base")
    some = next(
        each for each in Dataset.read(BUILT_IN).conversations() if len(each.turns()) >= MESSAGES
    )
    history = Corpus.encode([some], bot.tokenizer).messages(0)[:MESSAGES]
    _, state = bot.chatbot.score([history], bot.chatbot.initial_state(1))
    print("\n| reply | milliseconds (median) |\n|---|---|")
    params = SamplingParams(max_tokens=TOKENS, seed=0)
    with torch.no_grad():
        bot.chatbot.output_layer[1][END] = -1e9
    bot.chatbot.pack_weights()
    decoder = bot.decoder
    generator = params.generator()
    for samples in (1, 8):
        make = partial(best_drawn, decoder, state, params, Ranking(samples=samples), generator)
        taken = milliseconds(make, arguments.times)
        print(f"| made, {TOKENS} tokens, the best of {samples} | {taken:.0f} |")
    for number in (100_000, 1_000_000):
        if number <= arguments.most:
            size = decoder.vectors(state).shape[1]
            index = index_of(number, size, bot.tokenizer.vocabulary_size)
            search = milliseconds(partial(index.nearest, decoder, state), arguments.times)
            whole = milliseconds(partial(index.best, decoder, state), arguments.times)
            print(f"| found among {number:,}, then ranked | {whole:.0f} |")
            print(f"| of that, the search | {search:.0f} |")


if __name__ == "__main__":
    main()
