"""`get.label_colors`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import UNKNOWN
from .._labels import UNKNOWN_COLOR, palette_texts
from ._columns import labels_of

#: Okabe and Ito's colours, told apart also without colour vision; the yellow, pale on paper, comes last.
_FEW = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def label_colors(adata: AnnData, column: str, *, like: str | None = None) -> pd.Series:
    """The colour of every label of a column of `adata.obs`.

    Those of ``adata.uns["<column>_colors"]`` where it holds one for each category, as scanpy writes them. Otherwise, up
    to eight labels get colours that are told apart without colour vision, and more the default ones of scanpy. "Unknown"
    is grey unless the palette says otherwise.

    Parameters
    ----------
    adata
        Annotated data.
    column
        Column of `adata.obs` with labels.
    like
        Another such column. Where `column` has no palette, its labels take the colours that they have in this one.

    Returns
    -------
    Series of colours (str, as matplotlib reads them), with the labels as index, in the order of the categories.

    Raises
    ------
    KeyError
        `adata.obs` has no such column.
    """
    names = [str(name) for name in labels_of(adata, column).cat.categories]
    palette = palette_texts(adata.uns.get(f"{column}_colors"), len(names))
    if palette is not None and hasattr(adata.obs[column], "cat"):
        return pd.Series(palette, index=names, dtype=object)
    color = {UNKNOWN: UNKNOWN_COLOR} | ({} if like is None else label_colors(adata, like).to_dict())
    known = [name for name in names if name not in color]
    unused = [shade for shade in _default(len(names)) if shade not in color.values()]
    color |= dict(zip(known, [*unused, *_default(len(names))], strict=False))
    return pd.Series([color[name] for name in names], index=names, dtype=object)


def _default(n: int) -> list[str]:
    if n <= len(_FEW):
        return list(_FEW[:n])
    from scanpy.plotting import palettes

    many = next((p for p in (palettes.default_20, palettes.default_28) if n <= len(p)), palettes.default_102)
    return [many[number % len(many)] for number in range(n)]
