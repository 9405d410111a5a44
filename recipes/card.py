"""Write the card of the base: what it learned from, how good it is, what it must not be used for.

    python recipes/card.py --work DIR --bot FOLDER --figures base.json

DIR holds the mixture, FOLDER the packed bot, and base.json what `benchmarks/base.py --json` wrote,
with the new base last. Without figures, the card says how to measure them.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from mixture import BROAD, BUILT_IN, CLEAN, HELD, LICENSES, OWN, PLAIN, SETTLED, TALK, WIDE, set_of

from elman.data.files import write_file

ABOUT = {
    "self_dialogue": {
        "what": "[Self-dialogue Corpus](https://github.com/jfainberg/self_dialogue_corpus)",
        "who": "University of Edinburgh; Copyright (c) 2017",
        "how": "one person writes both sides; films, music, sports",
    },
    BUILT_IN: {
        "what": "[chitchat-dataset](https://pypi.org/project/chitchat-dataset/)",
        "who": "Will Myers and others",
        "how": "the three quarters with most known words, capitals and end marks",
    },
    "synthetic_persona_chat_validtest": {
        "what": "[Synthetic-Persona-Chat]"
        "(https://github.com/google-research-datasets/Synthetic-Persona-Chat)",
        "who": "Google",
        "how": "validation and test parts; written by a language model",
    },
    "personachat_valid": {
        "what": "[Persona-Chat](https://github.com/HLTCHKUST/Xpersona)",
        "who": "Zhang and others; as kept by XPersona",
        "how": "validation part; people with invented personas",
    },
    "persuasion_for_good": {
        "what": "[Persuasion for Good](https://gitlab.com/ucdavisnlp/persuasionforgood)",
        "who": "UC Davis",
        "how": "small talk, then a charity",
    },
    "star": {
        "what": "[STAR](https://github.com/RasaHQ/STAR)",
        "who": "Copyright (c) 2020 Rasa Technologies GmbH",
        "how": "two of five conversations, since many of its turns repeat",
    },
    "multiwoz_valtest": {
        "what": "[MultiWOZ 2.1](https://github.com/budzianowski/multiwoz)",
        "who": "Budzianowski, Eric and others; Copyright (c) 2019",
        "how": "validation and test parts; tourist information",
    },
    "taskmaster4_coffee": {
        "what": "[Taskmaster-4](https://github.com/google-research-datasets/Taskmaster)",
        "who": "Google",
        "how": "coffee orders, two of five",
    },
    "fun_dialogues": {
        "what": "[fun dialogues](https://github.com/eduand-alvarez/fun-dialogues)",
        "who": "Eduardo Alvarez",
        "how": "written by a language model",
    },
    "personality_chat": {
        "what": "[Personality Chat](https://github.com/microsoft/botframework-cli)",
        "who": "Copyright (c) Microsoft Corporation",
        "how": 'the voice "friendly"; what it is asked of itself is answered as Elman',
    },
    OWN: {
        "what": "`recipes/taught.json` and `wordings.json`",
        "who": "Elman",
        "how": "facts told and asked again, who it is, what it does not know; also put between "
        "the turns of other conversations",
    },
    TALK: {
        "what": "`recipes/talk`",
        "who": "Elman",
        "how": "written for the base by a language model, so that every reply answers what was "
        "just said; each stands there several times",
    },
}

CARD = """\
# The base bot

A small recurrent language model of conversations, from which new bots start and with which
`elman chat` talks where no other is named. Its name is Elman, and it knows that it is a bot.
{model}

## What it learned from

| set | broad | cleaner | wide | settled | talk | plain | held out | license | what |
|---|---|---|---|---|---|---|---|---|---|
{sets}

The broad part was read first, then the cleaner one (`recipes/mixture.py`). Wide and settled are
cleaner conversations again, with more that is taught, in many wordings (`recipes/wordings.py`):
nearly half of the first is, and a sixth of the second. The last two parts are talk that was written
for the base, beside some of the part before (`recipes/talk.py`). About half of each was read.

In the broad part one of the two people is the bot, in the others the other one; names that this
person goes by became "Elman". In the built-in conversations, placeholders stand in the place of
e-mail addresses, phone numbers, cards, IBANs, IP addresses, keys and passwords (`--redact`), by
rules that miss some. Other names of people are as they were.

## What was left out

- Of the built-in conversations, those that Elman validates on and tests with. So
  `elman eval base chitchat --split test` measures what it has not learned from.
- Of self_dialogue, Synthetic-Persona-Chat and Persona-Chat, one conversation in ten, by a hash of
  its id. No run has read them; the figures below are measured on them.
- Of talk between two people, conversations of fewer than four turns. Outside of the built-in ones,
  conversations with a link or an "@" too.
- Sets whose license asks that what is made of them has the same license, and support channels.
- Questions about suicide: their answer names a telephone number. A rule answers such messages.

Of the other sets it has learned from every part named here, their authors' test parts too.

## What was measured

{figures}

## What it must not be used for

It knows nothing, and says what sounds likely: nothing it says is advice, a fact or anybody's
opinion. It learned from students, crowd workers, customers and language models, all in English,
with their manners and prejudices, hardly filtered. Do not let it speak to people who do not know
that it is a machine, or where its words could hurt, decide or be believed.

## Small talk

`smalltalk.json` holds ways to ask in some 90 kinds of small talk, with one to three answers each.
What is asked in one of them is answered from there, and the reply says so (`origin`: "small talk").
The ways to ask, and the answers that fit, are those of Personality Chat, voice "friendly"
(Copyright (c) Microsoft Corporation, MIT License); what it says of itself was written for Elman.
`recipes/smalltalk.py` makes it.

## Written replies

`written.safetensors` holds exchanges that a language model (Claude, of Anthropic) wrote for Elman,
line by line: what a person says, and an answer. Where a message is like one of them, its answer may
be given, and the reply says so (`origin`: "written"). They have Elman's own license. Where none
makes sense probably enough, it is said that somebody listens, or that it is not known.
The same file knows by which words one asks for what one has told; that is said back (`origin`:
"told"). It also holds vectors of 12,000 words, counted from the conversations that the bot learned
from and those that were written for it. `recipes/written.py` makes it.
"""

NOT_MEASURED = (
    "Not yet: `benchmarks/base.py` measures, and `recipes/card.py --figures` writes it here."
)


def describe_model(bot: Path) -> str:
    """Describe the network in a sentence or two."""
    config = json.loads((bot / "config.json").read_text("utf-8"))
    model = config["model"]
    return (
        f"It has {model['layers']} residual LSTM layers of {model['hidden_size']} with gated MLPs, "
        f"a pointer over the last {model['pointer']} tokens\n"
        f"and a vocabulary of {config['data']['vocabulary']:,}, "
        "kept as 8-bit integers. `recipes/base.py` makes it."
    )


def describe_sets(work: Path) -> str:
    """Count the conversations of each set in each part; return the rows of a table."""
    counts = {part: Counter[str]() for part in (BROAD, CLEAN, WIDE, SETTLED, TALK, PLAIN, HELD)}
    for part, found in counts.items():
        with (work / f"{part}.jsonl").open(encoding="utf-8") as lines:
            found.update(set_of(json.loads(line)["id"]) for line in lines)
    return "\n".join(
        f"| {about['what']} ({about['who']}) "
        f"| {' | '.join(f'{found[name]:,}' for found in counts.values())} "
        f"| {LICENSES.get(name, 'as Elman')} | {about['how']} |"
        for name, about in ABOUT.items()
    )


def describe_figures(figures: Path) -> str:
    """Return what benchmarks/base.py found as a table."""
    found = json.loads(figures.read_text("utf-8"))["found"]
    rows = [f"| {what} | {value:.4g} |" for what, value in found[-1].items()]
    return "\n".join(["| on the held-out part | |", "|---|---|", *rows])


def write(work: Path, bot: Path, figures: Path | None = None) -> None:
    """Write the card.

    Args:
        work: where the mixture is.
        bot: the packed bot's folder.
        figures: what benchmarks/base.py wrote.
    """
    text = CARD.format(
        model=describe_model(bot),
        sets=describe_sets(work),
        figures=NOT_MEASURED if figures is None else describe_figures(figures),
    )
    write_file(bot / "CARD.md", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bot", type=Path, required=True)
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args()
    write(arguments.work, arguments.bot, arguments.figures)


if __name__ == "__main__":
    main()
