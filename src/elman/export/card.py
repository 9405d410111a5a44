"""The README.md of a bot that leaves: a model card as the Hugging Face Hub reads it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from elman.export.leaving import NOT_FOR
from elman.export.private import learned_in_public
from elman.model.config import ModelConfig
from elman.model.folder import BASE, BUILT_IN_BOTS, LANGUAGES

UNKNOWN_LICENSE, BASE_LICENSE = "unknown", "apache-2.0"

LANGUAGES_READ = {BASE: ["en"], LANGUAGES: ["de", "es", "fr", "it", "ja", "ko", "pt", "zh"]}
"""What each bot that comes with Elman has read, as codes of ISO 639-1."""
"""As the Hub spells them."""

IN_A_FOLDER = """\
With [Elman](https://pypi.org/project/elman/) installed, in this folder:

    elman chat .

In Python `elman.load_bot(FOLDER)`; of a bot on the Hub `elman.load_bot("hf://OWNER/NAME")`. Only
JSON and safetensors are read, and no code.
"""


def model_card(
    name: str,
    config: Mapping[str, Any],
    license_id: str | None = None,
    languages: Sequence[str] = (),
    how_to_talk: str = IN_A_FOLDER,
) -> str:
    """Write the card.

    Args:
        name: of the bot.
        config: as `read_config` reads it, of the bot at home.
        license_id: as the Hub spells it, such as "cc-by-4.0"; None: the base's own, else unknown.
        languages: ISO 639-1 codes; none: the base's own, else not told.
        how_to_talk: what is said of that.
    """
    built_in = BUILT_IN_BOTS.get(config.get("data", {}).get("path", ""))
    header = {
        "license": license_id or (UNKNOWN_LICENSE if built_in is None else BASE_LICENSE),
        "language": list(languages) or (None if built_in is None else LANGUAGES_READ[built_in]),
        "library_name": "elman",
        "pipeline_tag": "text-generation",
        "tags": [
            "elman",
            "conversational",
            "chatbot",
            "rnn",
            ModelConfig.model_validate(config["model"]).cell,
        ],
    }
    # JSON is YAML, whatever stands in the words.
    lines = [f"{key}: {json.dumps(each)}" for key, each in header.items() if each is not None]
    front = "\n".join(["---", *lines, "---"])
    own = _own_card(name, config)
    if built_in is not None:
        own = (built_in / "CARD.md").read_text("utf-8")
    return f"{front}\n\n{own.rstrip()}\n\n## How to talk with it\n\n{how_to_talk}"


def _own_card(name: str, config: Mapping[str, Any]) -> str:
    model, data = ModelConfig.model_validate(config["model"]), config.get("data", {})
    parts = [
        f"{model.layers} residual {model.cell} layers of {model.hidden_size}",
        f"a memory of {model.memory}",
        *([f"a pointer over the last {model.pointer} tokens"] if model.pointer else []),
        *([f"counts of up to {model.ngrams} tokens in a row"] if model.ngrams else []),
    ]
    done = [word for word, key in (("redacted", "redact"), ("renamed", "rename")) if data.get(key)]
    how = " and ".join(done) or "neither redacted nor renamed"
    source = (
        "the public conversations that come with Elman (chitchat-dataset, MIT)"
        if learned_in_public(config)
        else f"private conversations, which are not here; they were {how}"
    )
    begun = ". It began as a bot that comes with Elman, whose card names more data" * (
        config.get("train", {}).get("base") in BUILT_IN_BOTS
    )
    return f"""\
# {plain_words(name)}

A small recurrent chatbot: {", ".join(parts)}.

## What it learned from

It learned from {source}{begun}.

## What it must not be used for

{NOT_FOR} It can say what it learned from word for word.
"""


def plain_words(text: str) -> str:
    """Leave of a name what Markdown shows as it is."""
    return "".join(c if c.isalnum() or c in " .-" else "-" for c in text).strip() or "A bot"
