"""An h5ad file as an AnnData whose matrices stay on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset


@contextmanager
def on_disk(path: Path) -> Iterator[AnnData]:
    """Open a file for as long as the context lasts.

    X, the layers and the matrix of `raw` are read when rows of them are asked for. obs, var and ``uns["log1p"]`` are
    read at once; obsm, varm, obsp, varp and the rest of uns, which :func:`scbignn.pp.inspect` does not look at, are
    left out. ``anndata.read_h5ad(backed="r")`` would bring the layers into memory.
    """
    with h5py.File(path, "r") as file:
        raw = None
        if "raw" in file:
            raw = {"X": _matrix(file["raw/X"]), "var": read_elem(file["raw/var"])}
        with warnings.catch_warnings():
            # The report says so.
            warnings.filterwarnings("ignore", message=".* names are not unique")
            adata = AnnData(
                X=_matrix(file["X"]) if "X" in file else None,
                obs=read_elem(file["obs"]),
                var=read_elem(file["var"]),
                layers={name: _matrix(layer) for name, layer in file.get("layers", {}).items()},
                uns={"log1p": read_elem(file["uns/log1p"])} if "uns/log1p" in file else {},
                raw=raw,
            )
        yield adata


def _matrix(stored: h5py.Group | h5py.Dataset) -> Any:
    return stored if isinstance(stored, h5py.Dataset) else sparse_dataset(stored)
