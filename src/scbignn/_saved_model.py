"""What models of every kind can do: be written to a folder, be read, and be shared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from ._files import Parts, read_parts, write_parts
from ._hub import pull, share


class SavedModel(ABC):
    """A model that is plain data: tensors, and what JSON can say."""

    kind: ClassVar[str]
    """What its folder says that it is."""

    @abstractmethod
    def _parts(self) -> Parts:
        """Tensors, and what JSON can say."""

    @classmethod
    @abstractmethod
    def _of_parts(cls, parts: Parts) -> Self:
        """The inverse; whatever it raises means that the parts are not those of a model."""

    @abstractmethod
    def _card(self, repo_id: str) -> str:
        """What a repository says of the model, in Markdown."""

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model to a folder, which :func:`scbignn.read_model` reads: tensors and one JSON file, no code.

        Parameters
        ----------
        path
            The folder; it is created.
        overwrite
            Replace a model that is there.

        Raises
        ------
        FileExistsError
            There is something at `path`, and it is not to be overwritten, is no saved model, or holds other files, too.
        """
        write_parts(path, self.kind, self._parts(), overwrite=overwrite)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a model of this kind that :meth:`save` wrote. Nothing in the folder is run.

        Parameters
        ----------
        path
            The folder.

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        ValueError
            It holds no such model, one of a newer version, or one that is incomplete or was changed.
        """
        parts = read_parts(path, cls.kind)
        try:
            return cls._of_parts(parts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"{path} does not hold what this version expects of a model ({error!r}). Fit and save it anew."
            raise ValueError(msg) from error

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | None = None,
        private: bool = False,
        commit_message: str = "Upload model",
        endpoint: str | None = None,
    ) -> str:
        """Share the model on the Hugging Face Hub, with a card that says what it is. Needs the extra `scbignn[hub]`.

        Mind who may see it: a model of :func:`scbignn.tl.fit` holds the expression of its panel for every reference cell; one of
        :func:`scbignn.tl.fit_clusters` holds no cells.

        Parameters
        ----------
        repo_id
            "owner/name" of the repository; it is made if it does not exist.
        token
            Of a user who may write there; by default the one that `hf auth login` stored.
        private
            Of a new repository: whether others may not see it.
        commit_message
            What the hub's history says.
        endpoint
            Another hub than that of the environment variable `HF_ENDPOINT`, or https://huggingface.co.

        Returns
        -------
        Address of the repository. ``scbignn.read_model("hf://owner/name")`` reads the model.

        Raises
        ------
        ConnectionError
            The hub cannot be reached.
        ModuleNotFoundError
            huggingface_hub is not installed.
        PermissionError
            The hub does not let you.
        ValueError
            `repo_id` is no name of a repository.
        """
        where = {"token": token, "private": private, "message": commit_message, "endpoint": endpoint}
        return share(self.save, self._card(repo_id), repo_id, **where)

    @classmethod
    def from_hub(
        cls, repo_id: str, revision: str | None = None, *, token: str | None = None, endpoint: str | None = None
    ) -> Self:
        """Read a model of this kind from the Hugging Face Hub. Only its two files are downloaded, and nothing is run.

        Parameters
        ----------
        repo_id
            "owner/name" of the repository.
        revision
            Branch, tag or commit; by default the newest state.
        token, endpoint
            As in :meth:`push_to_hub`.

        Raises
        ------
        ConnectionError
            The hub cannot be reached, and the model was not read before.
        FileNotFoundError
            There is no such repository or revision, or you may not see it.
        ModuleNotFoundError
            huggingface_hub is not installed.
        ValueError
            `repo_id` is no name of a repository, or what is there is no such model, one of a newer version, or one that
            is incomplete or was changed.
        """
        return cls.read(pull(repo_id, revision, token=token, endpoint=endpoint))
