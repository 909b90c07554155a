"""An AnnData, and arguments that are no columns and no matrices."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import TypeVar

import numpy as np
from anndata import AnnData

from ._words import counted, some

C = TypeVar("C")


def check_type(adata: AnnData) -> None:
    """An AnnData, of whatever content."""
    if not isinstance(adata, AnnData):
        msg = f"adata is a {type(adata).__name__}, not an AnnData. Build one with anndata.AnnData(X, obs=..., var=...)."
        raise TypeError(msg)


def check_anndata(adata: AnnData, *, in_memory: bool = True) -> None:
    """An AnnData that has cells and genes, with unique names, and by default in memory."""
    check_type(adata)
    if in_memory and adata.isbacked:
        msg = "adata is backed by a file, which this function does not support. Use adata = adata.to_memory() first."
        raise ValueError(msg)
    for axis, index, mend in (
        ("cell", adata.obs_names, "adata.obs_names_make_unique()"),
        ("gene", adata.var_names, "adata.var_names_make_unique()"),
    ):
        if not len(index):
            msg = f"adata has no {axis}s: its shape is {adata.shape}. Look at how it was made or subset."
            raise ValueError(msg)
        if not index.is_unique:
            repeated = index[index.duplicated()].unique()
            msg = f"{len(repeated)} {axis} names occur more than once ({some(repeated)}). Use {mend} first."
            raise ValueError(msg)


def check_writable(adata: AnnData, *, copy: bool) -> None:
    """An AnnData that takes new slots: anndata makes no copy of one that is backed, nor writes to a view of one."""
    if adata.isbacked and (copy or adata.is_view):
        what = "so that there is no copy=True of it" if copy else "and a view, which takes no new slots"
        msg = f"adata is backed by a file, {what}. Use adata = adata.to_memory() first."
        raise ValueError(msg)


def generator_of(rng: int | np.random.Generator | None) -> np.random.Generator:
    """A generator, or the one that a seed stands for; None stands for a new one each time.

    Raises
    ------
    TypeError, ValueError
        It is neither, or the seed is negative.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        if isinstance(rng, bool) or not isinstance(rng, Integral):
            msg = f"rng is {rng!r}. Pass a seed, such as rng=0, or a numpy.random.Generator."
            raise TypeError(msg)
        if rng < 0:
            msg = f"rng={rng} must be non-negative. Pass a seed, such as rng=0."
            raise ValueError(msg)
    return np.random.default_rng(rng)


def check_config(config: C | None, kind: type[C], example: str, **changes: object) -> C:
    """A config of the kind, or its default, with the changes that are not None.

    Raises
    ------
    TypeError
        It is something else, such as the config of another method.
    """
    if config is None:
        config = kind()
    elif not isinstance(config, kind):
        msg = f"config is a {_public_name(type(config))}. Pass a {_public_name(kind)}, such as {example}."
        raise TypeError(msg)
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})


def _public_name(kind: type) -> str:
    """`scbignn.clustering.Config` for what a private module defines; without the module for what is built in."""
    module = kind.__module__.partition("._")[0]
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def checkpoint_folder(checkpoint_dir: str | Path | None) -> Path | None:
    """A folder that is there or can be made, as far as its name tells.

    Raises
    ------
    TypeError
        It is no path.
    ValueError
        It is a file, or would lie in one.
    """
    if checkpoint_dir is None:
        return None
    if not isinstance(checkpoint_dir, (str, os.PathLike)):
        msg = f"checkpoint_dir is {checkpoint_dir!r}. Pass the name of a folder."
        raise TypeError(msg)
    path = Path(checkpoint_dir)
    if path.is_symlink() and not path.exists():
        msg = f"checkpoint_dir={str(checkpoint_dir)!r} is a link to {path.readlink()}, which is not there. Name another folder."
        raise ValueError(msg)
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        what = "is a file" if there == path.absolute() else f"would lie in a file, {there}"
        msg = f"checkpoint_dir={str(checkpoint_dir)!r} {what}. Name another folder."
        raise ValueError(msg)
    return path


def check_n_neighbors(n_neighbors: int, n_obs: int) -> None:
    """Fewer neighbours than cells."""
    if n_neighbors >= n_obs:
        msg = f"n_neighbors={n_neighbors} is too large for {n_obs} cells. Use n_neighbors of at most {n_obs - 1}."
        raise ValueError(msg)


def check_transformer(transformer: object) -> None:
    """It is None, or searches neighbours as scikit-learn's KNeighborsTransformer does.

    Raises
    ------
    TypeError
        It is a class, has no such interface, or has no parameter `n_neighbors`.
    """
    if transformer is None:
        return
    mend = (
        "Pass an instance with the interface of sklearn.neighbors.KNeighborsTransformer, such as "
        "pynndescent.PyNNDescentTransformer(), or leave it out."
    )
    if isinstance(transformer, type):
        msg = f"transformer is the class {transformer.__name__}, not an instance of it. {mend}"
        raise TypeError(msg)
    found = f"transformer is {transformer!r}, a {type(transformer).__name__}"
    methods = ("get_params", "set_params", "fit_transform")
    lacking = [name for name in methods if not callable(getattr(transformer, name, None))]
    if lacking:
        msg = f"{found} without {', '.join(lacking)}. {mend}"
        raise TypeError(msg)
    if "n_neighbors" not in transformer.get_params(deep=False):
        msg = f"{found} without a parameter n_neighbors. {mend}"
        raise TypeError(msg)


def check_n_clusters(n_clusters: int | None, n_obs: int) -> None:
    """None, or a number of clusters that the cells can make.

    Raises
    ------
    TypeError, ValueError
        It is no number, less than 2, or more than the cells.
    """
    if n_obs < 2:
        msg = f"adata has {counted(n_obs, 'cell')}, which makes no clusters. Look at how it was made or subset."
        raise ValueError(msg)
    if n_clusters is None:
        return
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, Integral):
        msg = f"n_clusters={n_clusters!r} must be an integer. Use for example n_clusters=8, or None to estimate it."
        raise TypeError(msg)
    if not 2 <= n_clusters <= n_obs:
        msg = (
            f"n_clusters={n_clusters} must be at least 2, and at most the number of cells, {n_obs}. Use None to "
            "estimate it."
        )
        raise ValueError(msg)


def cell_pairs(adata: AnnData, pairs: object, argument: str) -> np.ndarray:
    """Pairs of cells by their names, as positions, (P, 2) int64; None is no pair.

    Raises
    ------
    KeyError
        There is no such cell.
    TypeError, ValueError
        They are no pairs of names, or a cell is paired with itself.
    """
    mend = f'Pass pairs of names in adata.obs_names, such as {argument}=[("cell_1", "cell_2")].'
    if pairs is None:
        return np.zeros((0, 2), dtype=np.int64)
    if isinstance(pairs, (str, Mapping)) or not hasattr(pairs, "__iter__"):
        msg = f"{argument} is a {type(pairs).__name__}. {mend}"
        raise TypeError(msg)
    pairs = [(pair,) if isinstance(pair, str) or not hasattr(pair, "__iter__") else tuple(pair) for pair in pairs]
    odd = next((pair for pair in pairs if len(pair) != 2), None)
    if odd is not None:
        msg = f"{argument} holds {odd!r}, which is no pair. {mend}"
        raise ValueError(msg)
    names = np.array([str(name) for pair in pairs for name in pair], dtype=object)
    places = adata.obs_names.get_indexer(names)
    if (places < 0).any():
        msg = f"adata.obs_names has no {names[places < 0][0]!r}, which {argument} names. {mend}"
        raise KeyError(msg)
    places = places.reshape(-1, 2).astype(np.int64)
    same = np.flatnonzero(places[:, 0] == places[:, 1])
    if same.size:
        msg = f"{argument} pairs {pairs[same[0]][0]!r} with itself. {mend}"
        raise ValueError(msg)
    return places
