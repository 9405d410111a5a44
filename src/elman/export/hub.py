"""A bot on its way to the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Any

import elman
from elman.errors import ElmanError, require
from elman.export.card import model_card
from elman.export.folder import CARD, write_folder
from elman.model.folder import folder_of, read_config
from elman.model.hub import TAKEN_FILES, hub_errors


def push_to_hub(
    bot: Path | str,
    repo_id: str,
    *,
    license_id: str | None = None,
    languages: tuple[str, ...] = (),
    with_replies: bool = False,
    **options: Any,
) -> str:
    """Upload what others need of a bot to the Hub, as `elman export BOT --to folder` writes it.

    Args:
        bot: its folder.
        repo_id: OWNER/NAME.
        license_id, languages: as `model_card` has them.
        with_replies: take along the replies of people.
        options: as of `push_folder`.

    Returns:
        The address of the commit.

    Raises:
        ElmanError: as `write_folder` and `push_folder` do.
    """
    folder, name = folder_of(bot), repo_id.rpartition("/")[2]
    card = model_card(name, read_config(folder, trust=None), license_id, languages)
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary) / "bot"
        write_folder(folder, new, card, with_replies)
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
            allow_patterns=[*TAKEN_FILES, CARD],
            delete_patterns=list(
                TAKEN_FILES
            ),  # of an earlier push, where there is no such file now
        )
    except hub_errors() as error:
        raise ElmanError(f"{repo_id}: {error or type(error).__name__}") from None
    return str(commit)
