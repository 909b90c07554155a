"""`datasets.amb`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anndata import AnnData

from ._abdelaal import load


def amb(*, level: Literal["class", "subclass", "cluster"] = "subclass", folder: str | Path | None = None) -> AnnData:
    """Primary visual cortex of the mouse (AMB, Allen Mouse Brain).

    Tasic et al., Nature 563, 72, 2018; SMART-Seq v4; labelled on three levels.

    From Zenodo record 3357167, the benchmark of Abdelaal et al. (Genome Biology 20, 194, 2019; CC-BY-4.0), after its
    authors' filtering. The record is a single archive of 3.7 GB: the first call for any of its sets downloads it (with
    ``pip install "scbignn[datasets]"``), checks its MD5 and keeps it; the set itself is kept as an h5ad of its own, so
    that the next call needs neither the network nor the archive.

    Parameters
    ----------
    level
        Which labels become `obs["cell_type"]`. All three are columns of `obs`.
    folder
        Where downloads are kept. Default: `scbignn.settings.data_folder`, or else the user's cache.

    Returns
    -------
    AnnData
        12,832 cells x 42,625 genes, 22 labels on the middle level, as the paper of scBiGNN counts them.
        Counts in `X` (CSR float32);
        `obs["cell_type"]`, categorical, and all levels, and the source in `uns["dataset"]`.

    Raises
    ------
    ConnectionError
        The archive cannot be downloaded. What came is kept, and the next call goes on from there.
    ModuleNotFoundError
        pooch is not installed.
    OSError
        The disk has no room.
    ValueError
        What was downloaded is not the archive that was expected, or `level` is unknown.
    """
    if level not in {"class", "subclass", "cluster"}:
        msg = f'level={level!r} is unknown. Use "class", "subclass" or "cluster".'
        raise ValueError(msg)
    return load("amb", "Intra-dataset/AMB/Filtered_mouse_allen_brain_data.csv", label=level, folder=folder)
