"""Saved models on the Hugging Face Hub: up with a card that says what they are, down as data and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._files import FILES

#: How `read_model` tells a repository from a folder.
SCHEME = "hf://"


def share(save: Callable[[Path], None], readme: str, repo_id: str, **where: Any) -> str:
    """Upload what `save` writes to a new folder, with its card; `where` are the keywords of :func:`push`, as the result is."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        save(folder)
        (folder / "README.md").write_text(readme, encoding="utf-8")
        return push(folder, repo_id, **where)


def push(folder: Path, repo_id: str, *, token: str | None, private: bool, message: str, endpoint: str | None) -> str:
    """Upload the files of a folder in one commit, to a repository that is made if need be; its address.

    Raises
    ------
    ConnectionError
        The hub cannot be reached, or does not do what it is asked.
    ModuleNotFoundError
        huggingface_hub is not installed.
    PermissionError
        The hub does not let this user write there.
    ValueError
        `repo_id` is no name of a repository.
    """
    hub = _hub()
    with _named_errors(hub, repo_id, endpoint):
        api = _api(hub, token, endpoint)
        api.create_repo(repo_id, private=private, exist_ok=True)
        additions = [
            hub.CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in sorted(folder.iterdir())
        ]
        api.create_commit(repo_id, additions, commit_message=message)
        return f"{api.endpoint}/{repo_id}"


def pull(repo_id: str, revision: str | None, *, token: str | None, endpoint: str | None) -> Path:
    """The folder with the model's two files, from the hub or, where that cannot be reached, as they were last time.

    Nothing else that is in the repository is downloaded.

    Raises
    ------
    ConnectionError
        The hub cannot be reached, and the model is not in the cache.
    FileNotFoundError
        There is no such repository or revision, or it is not for this user.
    ModuleNotFoundError
        huggingface_hub is not installed.
    ValueError
        `repo_id` is no name of a repository.
    """
    hub = _hub()
    with _named_errors(hub, repo_id, endpoint):
        api = _api(hub, token, endpoint)
        return Path(api.snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES)))


def pull_address(address: str) -> Path:
    """What :func:`pull` gives for an address such as "hf://owner/name" or "hf://owner/name@revision"."""
    repo_id, _, revision = address.removeprefix(SCHEME).partition("@")
    return pull(repo_id, revision or None, token=None, endpoint=None)


def card(repo_id: str, what: str, tags: list[str], sections: Mapping[str, str]) -> str:
    """The README of a repository, in Markdown: what the model is, how to load it, and what is known of it.

    Parameters
    ----------
    repo_id
        Where it lies.
    what
        One paragraph.
    tags
        What the hub finds it by.
    sections
        Text by headline.
    """
    lines = ["---", "library_name: scbignn", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
    lines += [f"# {repo_id.rpartition('/')[2]}", "", what, "", "```python", "import scbignn", ""]
    lines += [f'model = scbignn.read_model("{SCHEME}{repo_id}")', "```", ""]
    lines += ['Needs `pip install "scbignn[hub]"`. The model is numbers and names; reading it runs no code.', ""]
    for headline, text in sections.items():
        lines += [f"## {headline}", "", text, ""]
    return "\n".join(lines)


def as_table(rows: Mapping[str, Any], *head: str) -> str:
    """Names and values as a table in Markdown."""
    cells = ((name, "" if value is None else value) for name, value in rows.items())
    lines = [f"| {_plain(name)} | {_plain(value)} |" for name, value in cells]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _plain(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        msg = 'sharing models needs the package huggingface_hub. Install it with: pip install "scbignn[hub]"'
        raise ModuleNotFoundError(msg) from error
    return huggingface_hub


def _api(hub: Any, token: str | None, endpoint: str | None) -> Any:
    return hub.HfApi(endpoint=endpoint, token=token, library_name="scbignn", library_version=version("scbignn"))


@contextmanager
def _named_errors(hub: Any, repo_id: str, endpoint: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into messages that say what to do."""
    where = endpoint or hub.constants.ENDPOINT
    try:
        yield
    except hub.errors.HFValidationError as error:
        msg = f'{repo_id!r} is no name of a repository. Use "owner/name".'
        raise ValueError(msg) from error
    except hub.errors.RevisionNotFoundError as error:
        msg = f"{repo_id} at {where} has no such revision. Name a branch, a tag or a commit, or leave revision out."
        raise FileNotFoundError(msg) from error
    except hub.errors.RepositoryNotFoundError as error:
        msg = (
            f"there is no {repo_id} at {where}, or it is private. Look at the name, or log in: run `hf auth login`, or "
            "pass token=."
        )
        raise FileNotFoundError(msg) from error
    except hub.errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            msg = f"{where} does not let you do that with {repo_id}. Log in: run `hf auth login`, or pass token=."
            raise PermissionError(msg) from error
        msg = f"{where} answered with an error ({' '.join(str(error).split())}). Try again later."
        raise ConnectionError(msg) from error
    except hub.errors.LocalEntryNotFoundError as error:
        msg = (
            f"{where} cannot be reached, and {repo_id} has not been downloaded before. Look at the connection, or use "
            "model.save(path) and scbignn.read_model(path) on a shared folder."
        )
        raise ConnectionError(msg) from error
    except (OSError, ValueError, RuntimeError):
        raise
    except Exception as error:  # of the HTTP library, which is not ours to know
        msg = f"{where} cannot be reached ({error}). Look at the connection, or use model.save(path)."
        raise ConnectionError(msg) from error
