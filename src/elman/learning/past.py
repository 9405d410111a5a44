"""What a bot learned before, from its data or from the sample that it keeps."""

from dataclasses import dataclass, replace

from elman.data.dataset import Dataset
from elman.data.source import fingerprint
from elman.errors import ElmanError
from elman.evaluate.audit import Learned
from elman.evaluate.exposure import Planted
from elman.generate.bot import Bot
from elman.model.replay import NO_UPDATES, NOTHING, Replay, read_replay
from elman.train.checkpoints import corpus_of_run


@dataclass(frozen=True)
class Past:
    """What an update replays, and what it is held to.

    Args:
        talk: learned and held out, by training and by updates.
        source: "data" or "sample": where what training read comes from.
        planted: canaries, where the data is there.
    """

    talk: Replay
    source: str
    planted: list[Planted]

    @classmethod
    def of(cls, bot: Bot) -> "Past":
        """Read what a bot learned before.

        Raises:
            ElmanError: where its data is gone or changed, and no sample was kept.
        """
        saved = bot.data
        sample = read_replay(bot.path, bot.tokenizer)
        later = sample or NO_UPDATES
        why = "is gone"
        if saved.path != "-" and fingerprint(saved.path) is not None:
            learned = Learned.read(Dataset.again(bot.config["data"]), bot.tokenizer, saved.test)
            expected = corpus_of_run(bot.home)
            if expected in (None, learned.train.digest):
                held_out = sample.held_out if sample and len(sample.held_out) else learned.held_out
                talk = replace(later, train=learned.train, held_out=held_out or NOTHING)
                return cls(talk, "data", learned.planted)
            why = "changed since"
        if sample is None:
            raise ElmanError(
                f"{saved.path}: {why}, {bot.home} learned from it and has kept no sample; if a "
                f"copy lies somewhere else: elman train PATH --resume {bot.home}"
            )
        return cls(sample, "sample", [])
