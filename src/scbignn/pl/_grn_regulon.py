"""`pl.grn_regulon`."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes

from .. import get
from ._style import axes_or_new, fit_names, shortened

_LIMIT = 2.0


def grn_regulon(
    adata: AnnData,
    tf: str,
    *,
    groupby: str | None = None,
    n_targets: int = 25,
    layer: str | None = None,
    key: str = "sctransnet",
    ax: Axes | None = None,
) -> Axes:
    """Heat map of a TF and its highest targets over groups of cells; see :func:`scbignn.get.grn_regulon`.

    Parameters
    ----------
    adata
        Annotated data.
    tf
        Name of a TF that has links.
    groupby
        Column of `obs` with groups. Default: groups of cells by the expression of the TF, which rises to the right.
    n_targets
        How many targets, the highest on top.
    layer
        Layer to take expression from instead of `X`.
    key
        The `key_added` of the run.
    ax
        Axes to draw on. Default: those of a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        `adata` holds no such run, column or layer, or the run is of groups.
    ValueError
        The TF has no link among those kept, `groupby` no value, or `adata` no `X`.
    """
    table = get.grn_regulon(adata, tf, groupby=groupby, n_targets=n_targets, layer=layer, key=key)
    links = get.grn(adata, key=key)
    known = set(links.loc[(links["source"] == tf) & links["known"], "target"])
    n_genes, n_groups = table.shape
    columns = [] if groupby is None else [shortened(str(name)) for name in table.columns]
    below = 0.4 if groupby is None else 0.08 * max(map(len, columns))
    given = ax is not None
    ax = axes_or_new(ax, 2.6 + 0.16 * n_groups, max(2.0, 0.5 + 0.16 * n_genes) + below)
    high = min(_LIMIT, table.abs().to_numpy().max()) or 1.0
    image = ax.imshow(table, cmap="RdBu_r", vmin=-high, vmax=high, aspect="auto", interpolation="nearest")
    names = [f"{shortened(name, 20)} *" if name in known else shortened(name, 20) for name in table.index]
    ax.set_yticks(range(n_genes), names, fontsize=7, parse_math=False)
    ax.get_yticklabels()[0].set_weight("bold")
    ax.axhline(0.5, color="black", linewidth=1)
    if groupby is None:
        ax.set_xticks([])
        ax.set_xlabel(f"cells, by expression of {tf}", parse_math=False)
    else:
        ax.set_xticks(range(n_groups), columns, rotation=90, fontsize=7, parse_math=False)
        ax.set_xlabel("")
    ax.tick_params(length=1.5, pad=1.5)
    ax.set_title("* known target", fontsize=7, loc="left", pad=3)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02, extend="both" if high == _LIMIT else "neither")
    bar.set_label("expression, standardised", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    if given:
        fit_names(ax)
    return ax
