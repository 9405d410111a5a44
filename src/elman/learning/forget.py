"""Making a bot forget: trained anew from what never saw it, and all older copies deleted."""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.files import CANARIES, LOG
from elman.data.locks import only_one
from elman.data.tokenizer import END, Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.evaluate.audit import Learned
from elman.evaluate.card import AUDIT
from elman.evaluate.membership import encoded_for
from elman.generate.bot import Bot
from elman.generate.network import load_network_bot
from elman.learning.certificate import CERTIFIED_SAMPLES, Certificate, Remnant, remnant
from elman.learning.lessons import Lessons
from elman.learning.past import Past
from elman.learning.revision import keep_learned, revise
from elman.learning.selection import Selection, Staying, without
from elman.model import versions
from elman.model.folder import REPLIES, SMALL_TALK, read_config, read_tokenizer
from elman.model.ngrams import MAX_NGRAM_TOKENS
from elman.model.replay import NO_UPDATES, NOTHING, Replay, read_replay
from elman.model.versions import Version
from elman.runtime.choose import INT8_LOSS, load_bot
from elman.train.checkpoints import CHECKPOINTS, remove_checkpoints
from elman.train.config import BUDGETS, NO_BASE, Config, write_config
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
        innocent = None if selection.from_training else never_saw(home, old, selection)
        config = config_without(before.config, dataset.path, selection.digests, minutes)
        start = config.train.base if innocent is None else f"version {innocent.id}"
        with versions.draft(home, innocent) as folder:
            if innocent is None:
                result = train(config, folder, observers=observers, trust=trust)
                if result.reason == "interrupted":
                    raise ElmanError(f"{home}: was interrupted; nothing is forgotten yet")
                if (old.folder / SMALL_TALK).exists():
                    shutil.copyfile(old.folder / SMALL_TALK, folder / SMALL_TALK)
                steps = result.steps
            else:
                _leave_out(folder, selection.digests)
                steps = 0
            steps += learn_again(folder, selection.later, before.tokenizer, trust)
            after = load_bot(folder, "float32", trust)
            gone = [each.id for each in versions.versions(home)]
            certificate = _certificate(
                before, after, dataset, selection, gone, start, steps, samples, seed, trust
            )
            kept = versions.keep(
                home, folder, by="forget", parent=None, report=certificate.to_json()
            )
        versions.make_current(home, kept)
        sweep(home, kept)
        return kept, certificate


def never_saw(home: Path, version: Version, selection: Selection) -> Version | None:
    """Find the last version on the way to one that learned nothing of what is to be forgotten.

    Returns:
        None where none is left: then the bot is trained anew.
    """
    every = {each.id: each for each in versions.versions(home)}
    seen = True
    while seen:
        tokenizer = read_tokenizer(version.folder)
        sample = read_replay(version.folder, tokenizer) or NO_UPDATES
        kept = without(sample, tokenizer, selection.digests)
        seen = kept != Staying([*range(len(sample.later))], [*range(len(sample.later_held_out))])
        if seen:
            if version.parent not in every:
                return None
            version = every[version.parent]
    return version


def learn_again(
    folder: Path, later: Replay, encoded_by: Tokenizer, trust: Collection[str] = ()
) -> int:
    """Let a draft learn again what updates had taught and may stay.

    Args:
        folder: of the draft.
        later: what may stay.
        encoded_by: the tokenizer of its conversations.
        trust: cells from outside Elman whose code may run.

    Returns:
        Steps of training.
    """
    bot = load_bot(folder, "float32", trust)
    saved, tokenizer = bot.data, bot.tokenizer
    known = read_replay(folder, tokenizer) or NO_UPDATES
    given = replace(
        later,
        later=encoded_for(later.later, encoded_by, tokenizer),
        later_held_out=encoded_for(later.later_held_out, encoded_by, tokenizer),
    )
    rest = given.only(
        _others(given.later, known.later), _others(given.later_held_out, known.later_held_out)
    )
    if not len(rest.later):
        return 0
    learned = Learned.read(Dataset.again(bot.config["data"]), tokenizer, saved.test)
    held_out = learned.held_out or NOTHING
    past = Past(replace(known, train=learned.train, held_out=held_out), "data", [])
    new = Lessons(
        rest.later, rest.later_held_out, rest.sources, rest.held_out_sources,
        turns=int((rest.later.ids == END).sum()), left_out={}, people={},
    )  # fmt: skip
    has_replies = (folder / REPLIES).exists()
    steps: int = revise(folder, past, new, trust=trust)["steps"]
    keep_learned(folder, load_bot(folder, "float32", trust), past, new, has_replies)
    return steps


def _others(corpus: Corpus, known: Corpus) -> list[int]:
    """Return the numbers of the conversations that another corpus does not have."""
    seen = {known[n].tobytes() for n in range(len(known))}
    return [n for n in range(len(corpus)) if corpus[n].tobytes() not in seen]


def _leave_out(folder: Path, digests: Collection[str]) -> None:
    """Have a draft learn from something no more."""
    config = Config.make(read_config(folder))
    forgotten = tuple(sorted({*config.data.forgotten, *digests}))
    write_config(folder, config.changed(data={"forgotten": forgotten}))


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
    start: str | None,
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
        started_from=start,
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
