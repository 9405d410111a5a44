"""A bot on its way to the Hugging Face Hub."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import elman
from elman.errors import ElmanError, require
from elman.export.folder import MODEL_CARD, write_folder
from elman.model.hub import TAKEN_FILES, hub_errors


def push_to_hub(
    bot: Path | str,
    repo_id: str,
    *,
    license_id: str | None = None,
    languages: Sequence[str] = (),
    with_replies: bool = False,
    tell: Callable[[str], None] = warnings.warn,
    **options: Any,
) -> str:
    """Upload what others need of a bot to the Hub, as `elman export BOT --to folder` writes it.

    Args:
        bot: its folder.
        repo_id: OWNER/NAME.
        license_id, languages: as `model_card` has them.
        with_replies: take along the replies of people.
        tell: is told what private words leave.
        options: as of `push_folder`.

    Returns:
        The address of the commit.

    Raises:
        ElmanError: as `write_folder` and `push_folder` do.
    """
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary) / "bot"
        write_folder(
            bot,
            new,
            tell,
            name=repo_id.rpartition("/")[2],
            license_id=license_id,
            languages=languages,
            with_replies=with_replies,
        )
        return push_folder(new, repo_id, **options)


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    commit_message: str = "Push bot using elman.",
    private: bool = True,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Upload an exported folder, as `ModelHubMixin.push_to_hub` does, but privately unless asked.

    Args:
        folder: as `write_folder` makes it; of anything else in it nothing is uploaded.
        repo_id: OWNER/NAME.
        commit_message, private, token, branch, create_pr: as huggingface_hub has them.

    Returns:
        The address of the commit.

    Raises:
        ElmanError: where the library is not installed, the Hub refuses or does not answer, or what
            should be private would lie in a public repository.
    """
    require("hub", "pushing to the Hub")
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="elman", library_version=elman.__version__)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repo_id).private:
            raise ElmanError(
                f"{repo_id}: is public on the Hub already; --public pushes to it all the same"
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=branch,
            create_pr=create_pr,
            allow_patterns=[*TAKEN_FILES, MODEL_CARD],
            delete_patterns=list(
                TAKEN_FILES
            ),  # of an earlier push, where there is no such file now
        )
    except hub_errors() as error:
        raise ElmanError(f"{repo_id}: {error or type(error).__name__}") from None
    return str(commit)
