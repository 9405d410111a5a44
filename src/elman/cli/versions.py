"""elman versions and elman rollback"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.options import BotArgument, JsonOption
from elman.cli.text import plain, tell

if TYPE_CHECKING:
    from elman.model.versions import Version


def versions(bot: BotArgument, as_json: JsonOption = False) -> None:
    """List the versions of a bot that are kept, and mark the one that it is.

    Example: `elman versions bots/ann`
    """
    from elman.model.folder import current_id
    from elman.model.versions import digest_of
    from elman.model.versions import versions as kept_versions

    _require_bot(bot)
    found, now = kept_versions(bot), current_id(bot)
    if as_json:
        facts = [_facts(each, now) for each in found]
        print(json.dumps({"bot": str(bot), "current": now or digest_of(bot), "versions": facts}))
        return
    for each in found:
        mark, parent = "*" if each.id == now else " ", each.parent or "-"
        print(plain(f"{mark} {each.id}  {each.made[:19]}  {each.by:6}  of {parent}"))
    if now is None:
        print(f"* {digest_of(bot)}  is what training wrote; it is kept when something is learned")


def rollback(
    bot: BotArgument,
    version: Annotated[
        str | None,
        typer.Argument(
            help="Its id, or how it begins.  [default: the one that the current one came from]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a bot an earlier version of itself again, bit by bit.

    Example: `elman rollback bots/ann 3f2a`
    """
    from elman.model.versions import rollback as roll_back

    _require_bot(bot)
    found = roll_back(bot, version, tell)
    print(plain(f"{bot} is {found.id} again, of {found.made[:19]}"))


def _require_bot(bot: Path) -> None:
    from elman.errors import ElmanError
    from elman.model.folder import CONFIG, VERSIONS, no_bot

    if not (bot / CONFIG).is_file() and not (bot / VERSIONS).is_dir():
        raise ElmanError(no_bot(bot))


def _facts(version: "Version", now: str | None) -> dict[str, Any]:
    return {
        "version": version.id,
        "current": version.id == now,
        "parent": version.parent,
        "made": version.made,
        "by": version.by,
        "report": dict(version.report),
    }
