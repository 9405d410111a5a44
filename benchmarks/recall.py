"""Can a bot repeat a name that it was told? With the pointer, and without.

    python benchmarks/recall.py --json recall.json            # about 10 minutes on 2 cores

In message 1 a person gives their own name and that of somebody of theirs; after small talk, in
which other names occur, they ask for one of the two. A reply counts where it is right to the
letter. Names are made of syllables, and the names asked for in the test occur in no conversation
that was learned from. Whoever asks speaks in the odd messages: so names are asked for in messages
3, 5, 11 and 21, that is, 2, 4, 10 and 20 messages later. Every row learns from the same
conversations with the same sizes; the plain LSTM also three times as long, which takes it longer
than the pointer takes.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from machine import describe

from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus
from elman.generate.drawing import reply_batch
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.sampling import SamplingParams
from elman.train import Config, train

DISTANCES = (2, 4, 10, 20)
SYLLABLES = [
    "ba",
    "bel",
    "cor",
    "dan",
    "den",
    "eli",
    "fa",
    "far",
    "gen",
    "hol",
    "isa",
    "jo",
    "ka",
    "kel",
    "lan",
    "lor",
    "ma",
    "mir",
    "na",
    "nor",
    "ola",
    "per",
    "qui",
    "ra",
    "rin",
    "sa",
    "sel",
    "tam",
    "tor",
    "ula",
    "va",
    "vin",
    "wes",
    "xan",
    "yor",
    "zel",
]
RELATIONS = ("brother", "sister", "friend", "cat", "dog", "teacher", "boss", "neighbour")
THINGS = [
    "weather",
    "soup",
    "train",
    "garden",
    "film",
    "music",
    "coffee",
    "market",
    "river",
    "school",
    "window",
    "cake",
]
KINDS = [
    "good",
    "cold",
    "late",
    "quiet",
    "old",
    "new",
    "strange",
    "sweet",
    "long",
    "small",
    "loud",
    "warm",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Names:
    """Names of two or three syllables: of those that were learned, or of the others."""

    def __init__(self, draw: random.Random, held_out: bool) -> None:
        self._draw, self._held_out = draw, held_out

    def one(self) -> str:
        while True:
            name = "".join(self._draw.choices(SYLLABLES, k=self._draw.choice((2, 3))))
            if (random.Random(name).random() < 0.2) == self._held_out:
                return name.capitalize()


def small_talk(draw: random.Random, other: str) -> tuple[str, str]:
    """What has nothing to do with the names that were told, and an answer."""
    thing, kind, day = draw.choice(THINGS), draw.choice(KINDS), draw.choice(DAYS)
    return draw.choice(
        [
            (f"how was the {thing} on {day}?", f"the {thing} was {kind} on {day}."),
            (f"do you like the {thing}?", f"yes, the {thing} is {kind}."),
            (f"I met {other} on {day}.", f"how nice, was {other} well?"),
            (f"the {thing} is {kind}.", f"so was the {draw.choice(THINGS)}."),
            (f"tell {other} that the {thing} is {kind}.", f"I will, on {day}."),
        ]
    )


def conversation(draw: random.Random, distance: int, held_out: bool) -> list[str]:
    """Messages of the person and the bot in turn; the last is the answer."""
    names, others = Names(draw, held_out), Names(draw, held_out=False)
    mine, theirs = names.one(), names.one()
    relation = draw.choice(RELATIONS)
    told = f"my {relation} is called {theirs}"
    first = draw.choice([f"hi, I am {mine} and {told}.", f"hi, {told} and I am {mine}."])
    messages = [first, "nice to meet you."]
    for _ in range(distance // 2 - 1):
        messages += small_talk(draw, others.one())
    return messages + draw.choice(
        [
            ["what is my name?", f"you are {mine}."],
            [f"what is my {relation} called?", f"your {relation} is called {theirs}."],
        ]
    )


def lesson(conversations: int, seed: int, path: Path) -> None:
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(conversations):
            messages = conversation(draw, 2 * draw.randint(1, DISTANCES[-1] // 2), held_out=False)
            turns = [
                {"speaker": "bot" if n % 2 else "user", "text": text}
                for n, text in enumerate(messages)
            ]
            file.write(json.dumps({"turns": turns}) + "\n")


def accuracy(bot: NetworkBot, distance: int, questions: int, seed: int) -> float:
    """The share of likeliest replies that are right to the letter."""
    draw = random.Random(seed + distance)
    asked = [conversation(draw, distance, held_out=True) for _ in range(questions)]
    corpus = Corpus.encode(
        (
            Conversation(
                tuple(Message("bot" if n % 2 else "user", t) for n, t in enumerate(messages))
            )
            for messages in asked
        ),
        bot.tokenizer,
        bot="bot",
    )
    histories = [corpus.messages(index)[:-1] for index in range(len(corpus))]
    with torch.no_grad():
        _, state = bot.chatbot.score(histories, bot.chatbot.initial_state(len(histories)))
    greedy = SamplingParams(temperature=0, repetition_penalty=1, max_tokens=40)
    said = [bot.tokenizer.decode(own.tokens) for own in reply_batch(bot.decoder, state, greedy)]
    return sum(a == messages[-1] for a, messages in zip(said, asked, strict=True)) / questions


def measured(
    source: Path, arguments: argparse.Namespace, pointer: int, steps: int
) -> dict[str, Any]:
    config = Config.make(
        {
            "data": {"path": str(source), "bot": "bot", "learn_from": "bot", "vocabulary": 512},
            "model": {"hidden_size": arguments.hidden_size, "pointer": pointer},
            "train": {
                "steps": steps,
                "batch_size": 16,
                "unfold": 64,
                "seed": arguments.seed,
                "patience": 100,
            },
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = perf_counter()
        train(config, Path(folder))
        seconds = perf_counter() - begin
        bot = load_network_bot(Path(folder))
    state = bot.chatbot.initial_state(1)
    return {
        "pointer": pointer,
        "steps": steps,
        "seconds": round(seconds),
        "state_bytes": sum(tensor.nbytes for tensor in state),
        "recall": {
            str(distance): accuracy(bot, distance, arguments.questions, 1000 + arguments.seed)
            for distance in DISTANCES
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    asked = " | ".join(f"message {1 + distance}" for distance in DISTANCES)
    lines = [f"| | steps | seconds | state | {asked} |", "|" + "---|" * (4 + len(DISTANCES))]
    for row in rows:
        name = f"LSTM, pointer over {row['pointer']} tokens" if row["pointer"] else "LSTM"
        shares = " | ".join(f"{share:.1%}" for share in row["recall"].values())
        lines.append(
            f"| {name} | {row['steps']:,} | {row['seconds']} | {row['state_bytes']:,} bytes | "
            f"{shares} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="of training")
    parser.add_argument("--pointers", type=int, nargs="*", default=[256], help="tokens back")
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--questions", type=int, default=400, help="for each distance")
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "names.jsonl"
        lesson(arguments.conversations, arguments.seed, source)
        runs = [(0, arguments.steps), (0, 3 * arguments.steps)]
        runs += [(pointer, arguments.steps) for pointer in arguments.pointers]
        rows = [measured(source, arguments, *run) for run in runs]
    print(table(rows))
    if arguments.json:
        content = {"machine": describe(), "arguments": vars(arguments) | {"json": None}}
        arguments.json.write_text(json.dumps(content | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
