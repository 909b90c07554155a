"""`datasets.pbmc68k_reduced`."""

from __future__ import annotations

import scanpy as sc
from anndata import AnnData


def pbmc68k_reduced() -> AnnData:
    """Seven hundred blood cells that come with scanpy: no download.

    A part of Zheng68K with its 765 most variable genes. The labels come from the expression itself, by correlation with
    the mean of sorted populations.

    Returns
    -------
    AnnData
        700 cells x 765 genes. log1p of normalised counts in `X` (CSR float32); 10 labels in `obs["cell_type"]`,
        categorical, with their colours; the UMAP of scanpy in `obsm["X_umap"]`; the source in `uns["dataset"]`.
    """
    reduced = sc.datasets.pbmc68k_reduced()
    adata = reduced.raw.to_adata()  # its X is scaled, which counts cannot be had from
    labels = adata.obs["bulk_labels"]
    adata.obs = adata.obs[[]].assign(cell_type=labels)
    adata.uns = {
        "cell_type_colors": [str(color) for color in reduced.uns["bulk_labels_colors"]],
        "dataset": {
            "name": "pbmc68k_reduced",
            "source": "scanpy.datasets.pbmc68k_reduced",
            "paper": "https://doi.org/10.1038/ncomms14049",
        },
    }
    for attribute in (adata.obsm, adata.varm, adata.obsp):
        for name in [name for name in attribute if name != "X_umap"]:
            del attribute[name]
    adata.var = adata.var[[]]
    return adata
