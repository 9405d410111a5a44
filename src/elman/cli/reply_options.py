"""How a bot replies, as the commands that make it reply are told."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from elman.cli.text import plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.generate.replier import Replier
    from elman.generate.sampling import SamplingParams
    from elman.model.checkpoint import Bot

TemperatureOption = Annotated[
    float | None,
    typer.Option(
        help="Of the replies: 0 takes the likeliest; higher is more surprising.  "
        "[default: as training found it best]"
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        help="Replies that are drawn, of which the best is said; 1: the first.  "
        "[default: as training found it best]"
    ),
]
MmiWeightOption = Annotated[
    float | None,
    typer.Option(
        help="How much less a reply is worth for fitting everywhere: 0, likelihood alone; 1, all "
        "of it.  [default: as training found it best]"
    ),
]
ReplyFromOption = Annotated[
    str,
    typer.Option(
        help="generate: the net's own; data: only what somebody really answered; best: of both."
    ),
]
UnsureOption = Annotated[
    str | None, typer.Option(help="Say this instead of a reply that is too likely wrong.")
]
WrongOption = Annotated[
    float | None,
    typer.Option(
        help="With --unsure: the share of wrong answers that is accepted.  [default: 0.1]"
    ),
]

WRONG = 0.1


def make_params(bot: "Bot", **values: Any) -> "SamplingParams":
    """Return how a bot's replies are drawn, where None is as training found it best.

    Raises:
        ElmanError: where a value is out of range; it names the option.
    """
    from elman.generate.sampling import SamplingParams

    if (max_tokens := values.get("max_tokens", 1)) < 1:
        raise ElmanError(f"--max-tokens {max_tokens}: a reply has at least one token")
    return cast("SamplingParams", _valid(partial(SamplingParams.of, bot.config), values))


def make_replier(
    bot: "Bot",
    params: "SamplingParams",
    *,
    samples: int | None,
    mmi_weight: float | None,
    reply_from: str,
    unsure: str | None = None,
    wrong: float | None = None,
) -> "Replier":
    """Who chooses the replies; reads people's replies where these are wanted.

    Raises:
        ElmanError: where a value is out of range, there are no replies of people, or no threshold
            keeps wrong answers as rare as wanted.
    """
    from elman.generate import index_files
    from elman.generate.replier import Replier, ReplyFrom
    from elman.generate.rerank import Ranking

    if reply_from not in get_args(ReplyFrom):
        raise ElmanError(f"--reply-from {reply_from}: expected generate, data or best")
    if wrong is not None and unsure is None:
        raise ElmanError("--wrong is for --unsure TEXT: what to say instead of a wrong answer")
    wrong = WRONG if wrong is None else wrong
    if not 0 < wrong < 1:
        raise ElmanError(f"--wrong {wrong:g}: expected a share between 0 and 1, such as 0.1")
    if unsure is not None and reply_from != "data":
        raise ElmanError("--unsure is counted on replies of people: add --reply-from data")
    ranking = _valid(
        partial(Ranking.of, bot.config), {"samples": samples, "mmi_weight": mmi_weight}
    )
    if reply_from == "generate":
        return Replier(bot, params, ranking)

    def tell(text: str) -> None:
        print(plain(text), file=sys.stderr)

    index = index_files.known(bot, tell)
    source = cast("ReplyFrom", reply_from)
    if unsure is None:
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
    return Replier(bot, params, ranking, source, index, unsure, bound)


def _valid(model: Any, values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        item = error.errors()[0]
        option = str(item["loc"][0]).replace("_", "-")
        raise ElmanError(f"--{option} {item['input']}: {item['msg']}") from None
