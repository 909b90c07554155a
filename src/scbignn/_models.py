"""Saved models of every kind."""

from __future__ import annotations

from pathlib import Path

from . import annotation, clustering
from ._files import kind_of


def read_model(path: str | Path) -> annotation.Model | clustering.Model:
    """Read a model that its `save` wrote, of whatever kind it is. Nothing in the folder is run.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    What :func:`scbignn.tl.fit` or :func:`scbignn.tl.fit_clusters` returned.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model of scbignn, one of a newer version, or one that is incomplete or was changed.
    """
    if kind_of(path) == "clustering":
        return clustering.read_model(path)
    return annotation.read_model(path)
