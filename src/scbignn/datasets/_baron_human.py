"""`datasets.baron_human`."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from ._abdelaal import load


def baron_human(*, folder: str | Path | None = None) -> AnnData:
    """Human pancreatic islets (BaronHuman).

    Baron et al., Cell Systems 3, 346, 2016; inDrop; labelled by experts.

    From Zenodo record 3357167, the benchmark of Abdelaal et al. (Genome Biology 20, 194, 2019; CC-BY-4.0), after its
    authors' filtering. The record is a single archive of 3.7 GB: the first call for any of its sets downloads it (with
    ``pip install "scbignn[datasets]"``), checks its MD5 and keeps it; the set itself is kept as an h5ad of its own, so
    that the next call needs neither the network nor the archive.

    Parameters
    ----------
    folder
        Where downloads are kept. Default: `scbignn.settings.data_folder`, or else the user's cache.

    Returns
    -------
    AnnData
        8,569 cells x 17,499 genes, 14 labels, as the paper of scBiGNN counts them.
        Counts in `X` (CSR float32); the labels in `obs["cell_type"]`, categorical, and the source in `uns["dataset"]`.

    Raises
    ------
    ConnectionError
        The archive cannot be downloaded. What came is kept, and the next call goes on from there.
    ModuleNotFoundError
        pooch is not installed.
    OSError
        The disk has no room.
    ValueError
        What was downloaded is not the archive that was expected.
    """
    return load(
        "baron_human", "Intra-dataset/Pancreatic_data/Baron Human/Filtered_Baron_HumanPancreas_data.csv", folder=folder
    )
