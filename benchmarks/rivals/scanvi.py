"""scANVI of scvi-tools (Xu et al. 2021), by the recipe of its tutorials on integration and on seed labelling.

scVI with two layers, 30 latent dimensions and a negative binomial is trained on the counts of all cells, on 2,000
highly variable genes of those with three counts or more (all where there are no more), with the batch where there is one. scANVI starts from it, with
hidden labels as "Unknown" and 100 cells of each label an epoch. Epochs are the package's default: 400 for scVI below
20,000 cells, then 10. A label with a single cell is trained on like any other; one with none is never found.
"""

from __future__ import annotations

import numpy as np

from . import _apart
from .scvi_latent import variable_genes

MODE = "transductive"


def predict(problem) -> np.ndarray:
    return _apart.ask("scanvi", problem)


def answer(given: _apart.Given) -> np.ndarray:
    import anndata
    import pandas as pd
    import scvi
    import torch

    torch.set_num_threads(given.threads)
    scvi.settings.seed = given.seed
    obs = pd.DataFrame({"label": _apart.names(given)}, index=[f"cell {cell}" for cell in range(len(given.y))])
    batch = None
    if given.batch is not None:
        batch, obs["batch"] = "batch", given.batch.astype(str)
    adata = anndata.AnnData(given.counts, obs, pd.DataFrame(index=_apart.genes(given)))
    adata = variable_genes(adata, batch)
    quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    scvi.model.SCVI.setup_anndata(adata, batch_key=batch)
    first = scvi.model.SCVI(adata, n_layers=2, n_latent=30, gene_likelihood="nb")
    first.train(**quiet)
    model = scvi.model.SCANVI.from_scvi_model(first, unlabeled_category="Unknown", labels_key="label")
    model.train(n_samples_per_label=100, **quiet)
    found = model.predict(indices=given.test, soft=True)
    return _apart.of_all_labels(found.to_numpy(), found.columns, given, elsewhere=0.0)
