"""elman persona"""

import json
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.options import JsonOption, NameThereOption, TrustOption
from elman.cli.text import plain
from elman.errors import ElmanError


def persona(
    bot: Annotated[Path, typer.Argument(help="The bot's folder, or base.")],
    examples: Annotated[str, typer.Argument(help="Conversations as it should hold them.")],
    out: Annotated[
        Path, typer.Option("--out", help="The file of the persona, such as kind.state.")
    ],
    name: NameThereOption = None,
    steps: Annotated[int, typer.Option(help="Of learning.", min=1, max=10_000)] = 60,
    seed: Annotated[int, typer.Option(help="Of the order.", min=0)] = 0,
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Learn a state in which a bot begins, so that it talks like some examples; its weights stay.

    Example: `elman persona base kind.jsonl --bot Ann --out kind.state`, then `elman chat base
    --state kind.state`
    """
    from elman.cli.learned import read_as
    from elman.data.corpus import Corpus
    from elman.generate.bot import save_state
    from elman.generate.network import load_network_bot
    from elman.train.persona import learn_persona

    if out.is_dir():
        raise ElmanError(f"{out}: is a folder; --out names a file, such as kind.state")
    loaded = load_network_bot(bot, trust=trust or ())
    dataset = read_as(loaded, examples, None, name)
    corpus = Corpus.encode(dataset.conversations(), loaded.tokenizer, dataset.bot, dataset.others)
    learn_from = "all" if dataset.bot is None else "bot"
    found = learn_persona(
        loaded.chatbot, corpus, loaded.tokenizer, learn_from, steps=steps, seed=seed
    )
    save_state(out, loaded, found.state, {"messages": 0})
    told = {
        "bot": str(bot),
        "out": str(out),
        "bytes": out.stat().st_size,
        "conversations": len(corpus),
        "held_out_bits_per_byte": {"before": found.before, "after": found.after},
    }
    if as_json:
        print(json.dumps(told))
        return
    print(plain(f"{out}: {told['bytes']:,} bytes, of {len(corpus):,} conversations"))
    if found.before is not None and found.after is not None:
        gain = 1 - found.after / found.before
        print(
            f"held-out examples: {found.before:.3f} bits per byte before, {found.after:.3f} with "
            f"it ({gain:.0%} fewer)"
        )
        if gain <= 0:
            print("nothing is gained: more examples, or ones that are more alike, may help")
    print(plain(f"talk with it: elman chat {bot} --state {out}"))
