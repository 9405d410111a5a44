"""Scripted conversations with a bot, such as the demo's: does it loop?

    elman demo
    python benchmarks/demo_talks.py ~/.local/share/elman/bots/demo --held FILE

What people say comes from conversations that the bot has not learned from, such as casino's (CC BY
4.0), whatever it answers; or, by --talk, from a file of lines with a blank line between
conversations. It exits with 1 where a conversation loops.
"""

import argparse
from pathlib import Path

import torch
from talks import heard_in, hold_talks, loops, scripts_of

from elman.data.dataset import Dataset
from elman.evaluate.texts import distinct, repeated
from elman.runtime.choose import load_bot


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bot", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--held", help="conversations of people")
    source.add_argument("--talk", type=Path, help="lines that a person says")
    parser.add_argument("--talks", type=int, default=200)
    parser.add_argument("--turns", type=int, default=10, help="of each")
    parser.add_argument("--show", type=int, default=3, help="how many are shown")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.held is not None:
        people = Dataset.read(arguments.held, lenient=True).conversations()
        scripts = heard_in(people, None, arguments.turns)[: arguments.talks]
    else:
        scripts = list(scripts_of(arguments.talk))[: arguments.talks]
    talks = hold_talks(load_bot(arguments.bot), scripts)
    said = [[each.text for each in talk] for talk in talks]
    looping = [number for number, talk in enumerate(said) if loops(talk)]
    for number in [*looping, *range(arguments.show)]:
        print(f"\n## {number + 1}{' loops' if number in looping else ''}")
        for line, reply in zip(scripts[number], said[number], strict=True):
            print(f"- {line}\n  - {reply}")
    every = [reply for talk in said for reply in talk]
    again = sum(reply in talk[:n] for talk in said for n, reply in enumerate(talk))
    print(
        f"\n{len(said)} conversations, {len(every)} replies: {len(looping)} conversations loop, "
        f"{again / len(every):.1%} of the replies were given before in their conversation, "
        f"{repeated(every):.1%} more than once in all, distinct-2 {distinct(every, 2):.3f}"
    )
    raise SystemExit(bool(looping))


if __name__ == "__main__":
    main()
