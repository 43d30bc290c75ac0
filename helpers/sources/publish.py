"""Uploading a folder to the Hugging Face Hub: only when asked for, private unless said otherwise."""

from __future__ import annotations

from pathlib import Path

from helpers.errors import ParameterError, RunError, shown
from helpers.sources import tokens
from helpers.sources.hub_errors import in_short, may_pass, status_of


def token() -> str:
    """The reader's token for the Hub, from the environment or the platform's secrets.

    Raises:
        ParameterError: there is none; says where to put one.
    """
    found = tokens.find() or tokens.stored_hub_token()
    if not found:
        what = "push = True uploads to the Hugging Face Hub, and there is no token for it"
        raise ParameterError(
            what, f"Make one that may write, https://huggingface.co/settings/tokens; {tokens.how_to_set()}"
        )
    return found


def upload(folder: Path, repo_id: str, *, private: bool = True) -> str:
    """Make a model repository, if need be, and put a folder into it as one commit; its card is validated first.

    Args:
        folder: with README.md, the model card.
        repo_id: "owner/name", or a name in the account of the token.

    Returns:
        The repository's address.

    Raises:
        ParameterError: no token.
        RunError: the card is not valid, the Hub refuses, or cannot be reached; what is on this machine is untouched.
    """
    key = token()
    from huggingface_hub import HfApi, ModelCard

    api = HfApi(token=key)
    try:
        ModelCard.load(folder / "README.md").validate()
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=address.repo_id, commit_message="Upload with peft-lab")
    except ValueError as error:
        raise RunError(f"the Hub does not accept {folder.name}: {error}", "Correct README.md or repo_id") from error
    except Exception as error:  # the client's own errors and those of its transport share no base class
        refused = status_of(error) in (401, 403)
        known = status_of(error) is not None or may_pass(error)
        why = "the token may not write there" if refused else in_short(error) if known else shown(str(error))
        cure = "Use a token that may write, and a repo_id of your own" if refused else "Try again later"
        raise RunError(f"{folder} could not be uploaded to {repo_id}: {why}", cure) from error
    return str(address)
