"""`get.gene_attention`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import annotation_run
from ._labels import label_code


def gene_attention(adata: AnnData, *, key: str = "scbignn", label: str | None = None) -> pd.DataFrame:
    """The pairs of genes between which attention was strongest in :func:`scbignn.tl.annotate`, for each label.

    Up to 500 pairs a label. The table has the columns that decoupler and networkx read: `source`, `target`, `weight`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    label
        Pairs of this label only. Default: of all labels.

    Returns
    -------
    DataFrame
        With the columns `label`, `source` (the gene that attends), `target` (the gene attended to), `weight` (attention,
        averaged over the cells with the label that express both), `n_cells` (these cells), `z` and `p_adjusted`: how far
        the weight is from what as many cells drawn from all labels would have, in standard deviations, and the
        two-sided probability of that, Bonferroni over all pairs of the label. A small one means that attention is of
        another strength in this label than elsewhere; it does not mean that one gene regulates the other.

    Raises
    ------
    KeyError
        `adata` holds no such run, or one of :func:`scbignn.tl.predict`, or `label` is none of its labels.
    """
    run = annotation_run(adata.uns, key)
    if "gene_attention" not in run:
        msg = f"the run in adata.uns[{key!r}] holds no pairs of genes: tl.predict writes none. Use tl.annotate."
        raise KeyError(msg)
    table = run["gene_attention"]
    if label is not None:
        table = table[table["label"].cat.codes == label_code(run, label)]
    return table.reset_index(drop=True)
