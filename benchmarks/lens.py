"""How long the lens takes for a long conversation with the base bot, and how large its page is.

    python benchmarks/lens.py                     # 500 messages of the built-in conversations
    python benchmarks/lens.py --messages 100 --json

Conversations are laid end to end until they have so many messages. The time is of everything after
the bot and the messages are in memory: gradients, unfold lengths, lags, gates, and the page.
"""

import argparse
import json
import resource
from time import perf_counter, process_time
from typing import Any

import torch
from machine import describe

from elman.data.corpus import Corpus
from elman.data.readers import read
from elman.data.source import BUILT_IN, documents
from elman.generate.network import NetworkBot, load_network_bot
from elman.lens.as_json import to_json
from elman.lens.page import page
from elman.lens.view import ViewedMessage, look


def conversations(bot: NetworkBot, messages: int) -> list[list[ViewedMessage]]:
    """Conversations that have so many messages together."""
    found: list[list[ViewedMessage]] = []
    for each in read(documents(BUILT_IN)):
        tokens = Corpus.encode([each], bot.tokenizer).messages(0)
        turns = zip(each.runs(), each.turns(), tokens, strict=True)
        found.append(
            [ViewedMessage(who, turn.role, text, ids, True) for (who, text), turn, ids in turns]
        )
        if sum(map(len, found)) >= messages:
            break
    return found


def measured(messages: int) -> dict[str, Any]:
    bot = load_network_bot("base")
    heldout = conversations(bot, messages)
    said = [message for own in heldout for message in own][:messages]
    stages: list[tuple[str, float]] = []
    begin, cpu = perf_counter(), process_time()
    view = look(
        bot.chatbot, said, heldout, tell=lambda words: stages.append((words, perf_counter()))
    )
    seconds, cpu_seconds = perf_counter() - begin, process_time() - cpu
    facts = {
        "bot": "base", "chat": BUILT_IN, "conversation": 1, "conversations": 1, "name": "the bot",
        "seed": 0, "memory": "tokens", "cell": "lstm", "hidden_size": 512, "learn_from": "all",
        "messages_in_all": len(said), "unfold": {"count": 96, "unit": "tokens", "messages": 4.0},
    }  # fmt: skip
    text = page(facts | to_json(view, bot.tokenizer))
    ends = [*(at for _, at in stages[1:]), begin + seconds]
    return {
        "machine": describe(),
        "messages": len(said),
        "tokens": sum(len(each.tokens) for each in said),
        "shown": len(view.said),
        "seconds": seconds,
        "processor_seconds": cpu_seconds,
        "stages": {words: end - at for (words, at), end in zip(stages, ends, strict=True)},
        "page_bytes": len(text.encode()),
        "most_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measured(arguments.messages)
    if arguments.json:
        print(json.dumps(found))
        return
    print(found["machine"])
    print("| messages | of them shown | tokens | seconds | processor seconds | page | memory |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {found['messages']:,} | {found['shown']:,} | {found['tokens']:,} | "
        f"{found['seconds']:.1f} | {found['processor_seconds']:.1f} | "
        f"{found['page_bytes'] / 1e6:.2f} MB | {found['most_memory_bytes'] / 1e9:.2f} GB |"
    )
    for words, seconds in found["stages"].items():
        print(f"- {words}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
