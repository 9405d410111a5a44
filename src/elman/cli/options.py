"""Options that several commands share, and what they make of them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer

from elman.cli.text import tell
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.bptt.decode import Precision
    from elman.chat import MemoryStore
    from elman.generate.bot import Bot
    from elman.generate.replier import Replier, ReplyFrom
    from elman.generate.sampling import SamplingParams
    from elman.runtime.compiled import WeightPrecision
    from elman.serve.store.state_keys import StateKeys

T = TypeVar("T")

MAX_WRONG_SHARE = 0.1

BotArgument = Annotated[Path, typer.Argument(help="The bot's folder.")]
LearnedPathArgument = Annotated[
    str | None,
    typer.Argument(help="What it learned from, where that lies somewhere else now."),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        help="Where conversations are kept: a file, sqlite:///FILE, or "
        "postgresql://USER@HOST/NAME.  "
        "[default: memory.db in your data folder]",
        show_default=False,
    ),
]
StateKeysOption = Annotated[
    Path | None,
    typer.Option(
        help="The file of the keys that sign states which clients carry.  "
        "[default: state-keys.json in your data folder]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NameThereOption = Annotated[
    str | None,
    typer.Option("--bot", help="Who it is in these conversations, where the name differs."),
]
OwnEncodingOption = Annotated[
    str | None, typer.Option(help="Of the files.  [default: that of what it learned from]")
]
PrecisionOption = Annotated[
    str, typer.Option(help="Of the weights: float32, bfloat16 or int8 (least to read).")
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        help="Of replies: 0 takes the likeliest; higher is more surprising.  "
        "[default: as training found it best]"
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="Precision of the weights: float32, bfloat16 or int8 (least to read).  "
        "[default: int8 where that costs the bot next to nothing, else float32]",
        show_default=False,
    ),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        help="A cell from outside Elman whose code the bot may run: my.module:Name.",
        show_default=False,
    ),
]


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take options in groups: a parameter whose type is a dataclass stands for an
    option for each of its fields.
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {}
    parameters = []
    for each in signature.parameters.values():
        if not is_dataclass(each.annotation):
            parameters.append(each)
            continue
        groups[each.name] = each.annotation
        for field in fields(each.annotation):
            default = each.empty if field.default is MISSING else field.default
            parameters.append(each.replace(name=field.name, annotation=field.type, default=default))

    @wraps(command)
    def expanded(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return expanded


@dataclass(frozen=True)
class SamplingOptions:
    """How the tokens of a reply are drawn."""

    temperature: TemperatureOption = None
    top_p: Annotated[float, typer.Option(help="Choose among this share of probability.")] = 0.95
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Leave out what is less likely than this share of the likeliest.  "
            "[default: as training found it best]"
        ),
    ] = None
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: say the same less often.")] = (
        1.1
    )
    max_tokens: Annotated[int, typer.Option(help="Tokens of a reply, at most.")] = 200
    seed: Annotated[int | None, typer.Option(help="The same seed, the same replies.")] = None

    def params(self, bot: "Bot") -> "SamplingParams":
        if self.max_tokens < 1:
            raise ElmanError(f"--max-tokens {self.max_tokens}: a reply has at least one token")
        return make_params(bot, **asdict(self))


@dataclass(frozen=True)
class UnsureOptions:
    """When a reply of people is too likely wrong to be said."""

    unsure: Annotated[
        str | None, typer.Option(help="Say this instead of a reply that is too likely wrong.")
    ] = None
    wrong: Annotated[
        float | None,
        typer.Option(
            help="With --unsure: the share of wrong answers that is accepted.  [default: 0.1]"
        ),
    ] = None


@dataclass(frozen=True)
class RankingOptions:
    """How many replies are drawn, from where, and which is best."""

    samples: Annotated[
        int | None,
        typer.Option(
            help="Replies that are drawn, of which the best is said; 1: the first.  "
            "[default: as training found it best]"
        ),
    ] = None
    mmi_weight: Annotated[
        float | None,
        typer.Option(
            help="How much less a reply is worth for fitting everywhere: 0, likelihood alone; 1, "
            "all of it.  [default: as training found it best]"
        ),
    ] = None
    reply_from: Annotated[
        str,
        typer.Option(
            help="generate: the net's own; data: only what somebody really answered; best: of both."
        ),
    ] = "generate"

    def replier(
        self, bot: "Bot", params: "SamplingParams", doubt: UnsureOptions = UnsureOptions()
    ) -> "Replier":
        """Make what chooses a bot's replies; reads people's replies where these are wanted.

        Raises:
            ElmanError: where a value is out of range, there are no replies of people, or no score
                keeps wrong answers as rare as wanted.
        """
        from elman.generate.replier import Replier, ReplyFrom
        from elman.generate.rerank import Ranking

        source = cast("ReplyFrom", self.reply_from)
        if source not in get_args(ReplyFrom):
            raise ElmanError(f"--reply-from {source}: expected generate, data or best")
        if doubt.wrong is not None and doubt.unsure is None:
            raise ElmanError("--wrong is for --unsure TEXT: what to say instead of a wrong answer")
        wrong = MAX_WRONG_SHARE if doubt.wrong is None else doubt.wrong
        if not 0 < wrong < 1:
            raise ElmanError(f"--wrong {wrong:g}: expected a share between 0 and 1, such as 0.1")
        if doubt.unsure is not None and source != "data":
            raise ElmanError("--unsure is counted on replies of people: add --reply-from data")
        ranking = _checked(
            partial(Ranking.of, bot.config, samples=self.samples, mmi_weight=self.mmi_weight)
        )
        if source == "generate":
            return Replier(bot, params, ranking)
        from elman.generate import index_files  # which imports the readers of every format

        index = index_files.known(bot, tell)
        if doubt.unsure is None:
            return Replier(bot, params, ranking, source, index)
        bound = index.bound(wrong)
        if bound is None:
            raise ElmanError(
                f"--unsure: {index.doubts()}; no score keeps wrong answers to {wrong:.0%}: raise "
                "--wrong, or leave it out"
            )
        tell(
            f"{index.answered(bound):.0%} of what was asked in held-out conversations would be "
            f"answered, at most {wrong:.0%} of that wrongly"
        )
        return Replier(bot, params, ranking, source, index, doubt.unsure, bound)


def make_params(bot: "Bot", **values: Any) -> "SamplingParams":
    """Say how a bot's replies are drawn, where None is as training found it best.

    Raises:
        ElmanError: where a value is out of range; it names the option.
    """
    from elman.generate.sampling import SamplingParams

    return _checked(partial(SamplingParams.of, bot.config, **values))


def _checked(make: Callable[[], T]) -> T:
    """Make something of options; what pydantic refuses is said by the option's name."""
    from pydantic import ValidationError

    try:
        return make()
    except ValidationError as error:
        item = error.errors()[0]
        option = str(item["loc"][0]).replace("_", "-")
        raise ElmanError(f"--{option} {item['input']}: {item['msg']}") from None


def as_precision(text: str) -> "Precision":
    """Check a `--precision`."""
    from elman.bptt.decode import Precision

    if text not in get_args(Precision):
        raise ElmanError(f"--precision {text}: {', '.join(get_args(Precision))}")
    return cast("Precision", text)


def as_weights(text: str | None) -> "WeightPrecision | None":
    """Check a `--weights`."""
    from elman.runtime.compiled import WeightPrecision

    if text is not None and text not in get_args(WeightPrecision):
        raise ElmanError(f"--weights {text}: {', '.join(get_args(WeightPrecision))}")
    return cast("WeightPrecision | None", text)


def open_store(place: str | None) -> "MemoryStore":
    """Open the store of `--db`; raise ElmanError where it cannot be opened."""
    from elman.chat.memory import MemoryStore

    return MemoryStore(database_of(place))


def state_keys_of(path: Path | None) -> "StateKeys":
    """Read the file of `--state-keys`; raise ElmanError where it cannot be used."""
    from platformdirs import user_data_path

    from elman.serve.store.state_keys import StateKeys

    return StateKeys(path or user_data_path("elman") / "state-keys.json")


def database_of(place: str | None) -> str | Path:
    """Return where the store of `--db` is: as it was said, or in the user's data folder."""
    from platformdirs import user_data_path

    return place if place is not None else user_data_path("elman") / "memory.db"
