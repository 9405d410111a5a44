"""Making a bot forget: trained anew from what never saw it, and all older copies deleted."""

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from elman.data.corpus import scored
from elman.data.dataset import Dataset
from elman.data.files import CANARIES, LOG
from elman.data.locks import only_one
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.evaluate.card import AUDIT
from elman.generate.bot import Bot
from elman.generate.network import load_network_bot
from elman.learning.certificate import CERTIFIED_SAMPLES, Certificate, Remnant, remnant
from elman.learning.selection import Selection
from elman.model import versions
from elman.model.folder import SMALL_TALK
from elman.model.ngrams import MAX_NGRAM_TOKENS
from elman.model.versions import Version
from elman.runtime.choose import INT8_LOSS, load_bot
from elman.train.checkpoints import CHECKPOINTS, remove_checkpoints
from elman.train.config import BUDGETS, NO_BASE, Config
from elman.train.run import train
from elman.train.runlog import Observer

REMAINS = (LOG, CHECKPOINTS, CANARIES)
"""What training leaves beside a version. It lies in the bot's folder."""


def forget(
    home: Path,
    dataset: Dataset,
    selection: Selection,
    *,
    minutes: float | None = None,
    samples: int = CERTIFIED_SAMPLES,
    observers: tuple[Observer, ...] = (),
    warn: Callable[[str], None] = lambda text: None,
    trust: Collection[str] = (),
    seed: int = 0,
) -> tuple[Version, Certificate]:
    """Make a bot forget.

    It becomes a new version at once, when that is whole on disk; whatever ends this before, the bot
    is as it was. Then all other versions are deleted, and what training had left beside them.

    Args:
        home: the bot's folder.
        dataset: what it learned from.
        selection: what goes.
        minutes: of training; None: the budget with which it was trained.
        samples: replies that are drawn for the certificate, before and after.
        observers: told of the training.
        warn: told in words what else should be known.
        trust: cells from outside Elman whose code may run.
        seed: of what is drawn for the certificate.

    Raises:
        ElmanError: where it cannot be written, or what is left teaches nothing.
    """
    with only_one(home, warn):
        old = versions.keep_first(home)
        before = load_bot(old.folder, "float32", trust)
        config = config_without(before.config, dataset.path, selection.digests, minutes)
        with versions.draft(home) as folder:
            result = train(config, folder, observers=observers, trust=trust)
            if result.reason == "interrupted":
                raise ElmanError(f"{home}: was interrupted; nothing is forgotten yet")
            if (old.folder / SMALL_TALK).exists():
                shutil.copyfile(old.folder / SMALL_TALK, folder / SMALL_TALK)
            after = load_bot(folder, "float32", trust)
            gone = [each.id for each in versions.versions(home)]
            certificate = _certificate(
                before, after, dataset, selection, gone, result.steps, samples, seed, trust
            )
            kept = versions.keep(
                home, folder, by="forget", parent=None, report=certificate.to_json()
            )
        versions.make_current(home, kept)
        sweep(home, kept)
        return kept, certificate


def finish(home: Path, warn: Callable[[str], None]) -> bool:
    """Delete what a forgetting that was ended before its end has left; tell whether there was any.

    Args:
        home: the bot's folder.
        warn: as `only_one` takes it.
    """
    now = versions.current(home)
    if now is None or now.by != "forget" or len(versions.versions(home)) == 1:
        return False
    with only_one(home, warn):
        sweep(home, now)
    return True


def sweep(home: Path, kept: Version) -> None:
    """Delete all of a bot but one version, which it is; what training wrote is that one, too.

    For whoever holds the bot's folder.
    """
    if (kept.folder / CHECKPOINTS).exists():
        remove_checkpoints(home)
    for name in REMAINS:
        if (kept.folder / name).exists():
            (kept.folder / name).replace(home / name)
    for name in (*versions.DIGESTED_FILES, *versions.MADE_FILES, AUDIT):
        (home / name).unlink(missing_ok=True)
        if (kept.folder / name).exists():
            shutil.copyfile(kept.folder / name, home / name)
    for version in versions.versions(home):
        if version.id != kept.id:
            versions.remove(home, version)


def config_without(
    saved: Mapping[str, Any], path: str, digests: Collection[str], minutes: float | None
) -> Config:
    """Make the configuration of a bot that is trained anew without something.

    What was chosen for the first training stays; what was found when it ended is found again.

    Args:
        saved: of the bot.
        path: where its conversations lie.
        digests: of what goes.
        minutes: of training; None: the budget that it had.
    """
    values = {name: value for name, value in saved.items() if name != INT8_LOSS}
    found = set(values.get("reply", {}).get("fitted") or ())
    reply = {
        name: value
        for name, value in values.get("reply", {}).items()
        if name != "fitted" and name not in found
    }
    forgotten = {*values["data"].get("forgotten", ()), *digests}
    data = values["data"] | {"path": path, "forgotten": sorted(forgotten)}
    learning = dict(values["train"])
    learning["base"] = learning.get("base") or NO_BASE
    if minutes is not None:
        learning |= {**dict.fromkeys(BUDGETS), "minutes": minutes}
    return validated(Config, {**values, "data": data, "train": learning, "reply": reply})


def _certificate(
    before: Bot,
    after: Bot,
    dataset: Dataset,
    selection: Selection,
    gone: list[str],
    steps: int,
    samples: int,
    seed: int,
    trust: Collection[str],
) -> Certificate:
    saved = before.data
    rest = Dataset.again(after.config["data"])
    parts, _ = rest.encode(before.tokenizer, saved.test)
    held_out = parts.get("test", parts.get("dev"))
    name = before.config["train"].get("base")
    base = None if name is None else load_bot(name, "float32", trust)

    def measured(bot: Bot) -> Remnant:
        return remnant(
            bot, selection, parts["train"], held_out, saved.learn_from, base,
            encoded_by=before, samples=samples, seed=seed,
        )  # fmt: skip

    small = len(parts["train"].ids) + len(selection.before.ids) <= MAX_NGRAM_TOKENS
    return Certificate(
        digests=selection.digests,
        messages=selection.messages,
        conversations=len(selection.before),
        before=measured(before),
        after=measured(after),
        counts_subtracted=subtracted(before, after, selection, trust) if small else None,
        versions_removed=tuple(gone),
        started_from=name,
        steps=steps,
    )


def subtracted(
    before: Bot, after: Bot, selection: Selection, trust: Collection[str]
) -> bool | None:
    """Tell whether the counts of two bots differ by what went, exactly.

    Returns:
        None where nothing is counted, in other tokens, or so much that not all was kept.
    """
    if before.tokenizer.digest != after.tokenizer.digest:
        return None
    left = []
    for bot, corpus in ((before, selection.before), (after, selection.after)):
        counts = load_network_bot(bot.path, trust=trust).chatbot.ngrams
        if counts is None:
            return None
        try:
            if len(corpus.ids):
                counts.subtract(corpus.ids, scored(corpus.ids, bot.data.learn_from))
        except ValueError:
            return None
        left.append(counts.layers.state_dict())
    one, other = left
    return all(
        one[name].dtype == other[name].dtype
        and one[name].numpy().tobytes() == other[name].numpy().tobytes()
        for name in one
    )
