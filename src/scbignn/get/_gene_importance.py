"""`get.gene_importance`."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from anndata import AnnData

from .._keys import annotation_run
from ._labels import label_code

_COLUMNS = {"attention": "score", "attribution": "attribution"}


def gene_importance(
    adata: AnnData,
    *,
    key: str = "scbignn",
    by: Literal["attention", "attribution"] = "attention",
    label: str | None = None,
    n_genes: int | None = None,
) -> pd.DataFrame:
    """Genes by their importance in :func:`scbignn.tl.annotate`, of the panel that entered the gene-level network.

    Read the two measures for two questions. **Attention** is the paper's score: s_j is the sum over genes i of the
    attention of i to j, averaged over the cells, layers and heads where both genes are expressed (arXiv 2312.10310). It
    says where the network looks, not what its answer rests on: without the genes of most attention the answer hardly
    changes, and by default a run with another seed looks elsewhere (:func:`scbignn.get.importance_stability`). **Attribution** says what it rests on: x_j d m / d x_j, averaged over cells, where x_j is normalised expression
    and m = l_c - (max_c' l_c' + mean_c' l_c') / 2 the margin, in logits l of q, of the label c that a cell was given over
    any other, c'.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    by
        As above.
    label
        Over the cells that were given this label only. Default: over all cells.
    n_genes
        Return only the first so many.

    Returns
    -------
    DataFrame with the columns `gene`, `score` (s_j, or what the gene adds to the margin) and `rank` (from 1), highest
    score first. Scores are NaN for a label that no cell was given, and attention also for one of so few
    cells that no two genes are expressed together in ten.

    Raises
    ------
    KeyError
        `adata` holds no such run, or one of a model that does not know the measure, or `label` is none of its labels.
    ValueError
        `by` is unknown.
    """
    run = annotation_run(adata.uns, key)
    if by not in _COLUMNS:
        msg = f'by={by!r} is unknown. Use by="attention" or by="attribution".'
        raise ValueError(msg)
    overall, per_label, column = run["gene_importance"], run.get("gene_importance_per_label", {}), _COLUMNS[by]
    if column not in (overall if label is None else per_label):
        msg = f"the run in adata.uns[{key!r}] was by an earlier version and holds no such scores. Annotate again."
        raise KeyError(msg)
    scores = overall[column].to_numpy()
    if label is not None:
        scores = per_label[column][:, label_code(run, label)]
    table = pd.DataFrame({"gene": overall.index.astype(str), "score": scores})
    table = table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    table["rank"] = range(1, len(table) + 1)
    return table.head(len(table) if n_genes is None else n_genes)
