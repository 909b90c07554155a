"""Latent space of scVI (Lopez et al. 2018), by the recipe of its tutorial on integration, for rivals that cluster.

Two layers, 30 latent dimensions and a negative binomial on the counts of 2,000 highly variable genes of those with three
counts or more (all where there are no more). Epochs are the package's default: 400 below 20,000 cells.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from . import _apart

N_GENES = 2000


class Counts(NamedTuple):
    """What it is given."""

    counts: sp.csr_matrix
    """(cells, genes)."""
    seed: int
    threads: int


def latent(counts: sp.csr_matrix, seed: int) -> np.ndarray:
    """Means of the latent variables, (cells, 30)."""
    return _apart.call("scvi_latent", partial(write, counts=counts, seed=seed))


def write(file: Path, *, counts: sp.csr_matrix, seed: int, threads: int) -> None:
    np.savez(file, **_apart.parts(counts), seed=seed, threads=threads)


def read(file: Path) -> Counts:
    with np.load(file) as parts:
        return Counts(_apart.whole(parts), int(parts["seed"]), int(parts["threads"]))


def answer(given: Counts) -> np.ndarray:
    import anndata
    import scvi
    import torch

    torch.set_num_threads(given.threads)
    scvi.settings.seed = given.seed
    adata = variable_genes(anndata.AnnData(given.counts))
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata, n_layers=2, n_latent=30, gene_likelihood="nb")
    model.train(enable_progress_bar=False, accelerator="cpu")
    return model.get_latent_representation()


def variable_genes(adata, batch: str | None = None):
    """`adata` with the genes that scVI is trained on, of those with three counts or more."""
    import scanpy as sc

    if adata.n_vars > N_GENES:
        sc.pp.filter_genes(adata, min_counts=3)
        sc.pp.highly_variable_genes(adata, n_top_genes=N_GENES, flavor="seurat_v3", batch_key=batch, subset=True)
    return adata.copy()
