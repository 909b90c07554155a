"""`datasets.zheng_sorted`."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from ._abdelaal import load


def zheng_sorted(*, folder: str | Path | None = None) -> AnnData:
    """Blood cells labelled by FACS sorting (Zhengsorted).

    Zheng et al., Nature Communications 8, 14049, 2017; 10x Genomics; a sample of ten sorted populations. The labels are
    independent of the expression.

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
        20,000 cells x 21,952 genes, 10 labels, as the paper of scBiGNN counts them.
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
    return load("zheng_sorted", "Intra-dataset/Zheng sorted/Filtered_DownSampled_SortedPBMC_data.csv", folder=folder)
