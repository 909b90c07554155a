"""Saved models of every kind."""

from __future__ import annotations

from pathlib import Path

from . import annotation, clustering
from ._files import kind_of
from ._hub import SCHEME, pull_address


def read_model(path: str | Path) -> annotation.Model | clustering.Model:
    """Read a model that its `save` wrote, of whatever kind it is. Nothing in the folder is run.

    Parameters
    ----------
    path
        The folder, or a repository of the Hugging Face Hub: "hf://owner/name", or "hf://owner/name@revision". That needs
        the extra `scbignn[hub]`; a model that was read before is found without a connection.

    Returns
    -------
    What :func:`scbignn.tl.fit` or :func:`scbignn.tl.fit_clusters` returned.

    Raises
    ------
    ConnectionError
        The hub cannot be reached.
    FileNotFoundError
        There is no such folder or repository.
    ModuleNotFoundError
        huggingface_hub is not installed.
    ValueError
        It holds no model of scbignn, one of a newer version, or one that is incomplete or was changed.
    """
    if isinstance(path, str) and path.startswith(SCHEME):
        path = pull_address(path)
    kind = clustering.Model if kind_of(path) == clustering.Model.kind else annotation.Model
    return kind.read(path)
