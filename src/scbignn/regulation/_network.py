"""The table of known edges, checked against the genes of the data."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from .._check import counted, some

logger = logging.getLogger(__name__)

_COLUMNS = ("source", "target")
#: What they hold, and what they are called elsewhere, in lower case.
_HOLDS = {"source": "TFs", "target": "genes that they regulate"}
_CALLED = {
    "source": ("source", "tf", "tfs", "regulator", "gene1", "tf_name", "from"),
    "target": ("target", "gene", "genes", "targets", "target_gene", "gene2", "to"),
}
#: From so many sources on, three times as many of them as of targets look like a table the wrong way round.
_MIN_SOURCES = 20
#: Pairs of a TF and a gene that fit in memory with everything that is computed of them.
_MAX_PAIRS = 3_000_000


class Network(NamedTuple):
    """Known edges among the genes of the data."""

    tfs: np.ndarray
    """(n,) int64, the gene that each TF is; first those with edges, in the order of the genes, then those without."""
    known: np.ndarray
    """(n, n_genes) bool."""
    n_with_edges: int
    report: dict[str, object]
    """What became of the table: numbers of edges, and names that were left out."""


def read_network(network: pd.DataFrame, genes: pd.Index, tfs: Iterable[str] | None = None) -> Network:
    """Check a table of edges, and find its genes in the data.

    Edges to or from genes that are not in the data, of a gene to itself, of weight 0, or told twice are left out, and
    the log says how many.

    Parameters
    ----------
    network
        With the columns `source` and `target`, names of genes, and perhaps `weight`.
    genes
        Names of the genes of the data, unique.
    tfs
        Take these as TFs; edges of other sources are left out. Default: all sources.

    Raises
    ------
    TypeError, ValueError
        The table cannot be used; the message says what mends it.
    """
    table = _checked(network)
    n_given = len(table)
    listed = _listed(tfs, genes)
    _check_direction(table, listed)
    if "weight" in table:
        table = table[table["weight"] != 0]
    n_weightless = n_given - len(table)
    table = table[["source", "target"]]
    n_before = len(table)
    table = table[table["source"] != table["target"]]
    n_self = n_before - len(table)
    n_before = len(table)
    table = table.drop_duplicates()
    n_repeated = n_before - len(table)
    if not len(table):
        msg = (
            f"none of the {counted(n_given, 'edge')} of network is of use: {n_weightless} have weight 0, {n_self} go from a "
            "gene to itself. Pass edges between two genes, with weights other than 0, or none."
        )
        raise ValueError(msg)
    inside = table["source"].isin(genes) & table["target"].isin(genes)
    missing = pd.Index(table[list(_COLUMNS)].to_numpy().ravel()).unique().difference(genes)
    n_absent = int((~inside).sum())
    if not inside.any():
        raise ValueError(_no_overlap(table, genes))
    table = table[inside]
    n_other = 0
    if listed is not None:
        of_listed = table["source"].isin(listed)
        n_other = int((~of_listed).sum())
        if not of_listed.any():
            msg = (
                f"none of the {counted(len(table), 'edge')} of network among the genes of the data starts at one of tfs "
                f"({some(listed)}). The sources are {some(table['source'].unique())}. Pass tfs=None to take all."
            )
            raise ValueError(msg)
        table = table[of_listed]
    for number, what in (
        (n_weightless, "of weight 0"),
        (n_self, "of a gene to itself"),
        (n_repeated, "told before"),
        (n_absent, "of genes that adata lacks"),
        (n_other, "of sources that tfs does not list"),
    ):
        if number:
            logger.info("network: %s %s left out", counted(number, "edge"), what)
    known_sources = genes[np.sort(genes.get_indexer(table["source"].unique()))]
    without = [] if listed is None else [name for name in listed if name not in set(known_sources)]
    if without:
        logger.info("network: %s of tfs without known edges (%s)", counted(len(without), "gene"), some(without))
    names = known_sources.append(pd.Index(without, dtype=object))
    if len(names) * len(genes) > _MAX_PAIRS:
        msg = (
            f"{len(names):,} TFs x {len(genes):,} genes are more than {_MAX_PAIRS:,} pairs. Choose genes first, such as "
            "adata = adata[:, adata.var['highly_variable'] | adata.var_names.isin(network['source'])], or TFs with tfs=."
        )
        raise ValueError(msg)
    known = np.zeros((len(names), len(genes)), dtype=bool)
    known[names.get_indexer(table["source"]), genes.get_indexer(table["target"])] = True
    report = {
        "n_edges": len(table),
        "n_tfs": len(known_sources),
        "n_given": n_given,
        "n_weight_zero": n_weightless,
        "n_self": n_self,
        "n_repeated": n_repeated,
        "n_absent": n_absent,
        "n_other_sources": n_other,
        "missing": np.array(missing, dtype=object),
        "without_edges": np.array(without, dtype=object),
    }
    return Network(genes.get_indexer(names), known, len(known_sources), report)


def _checked(network: object) -> pd.DataFrame:
    """A table with names as strings and weights as numbers."""
    if not isinstance(network, pd.DataFrame):
        msg = (
            f"network is a {type(network).__name__}, not a DataFrame. Pass a table of known edges, such as "
            'pd.DataFrame({"source": [...], "target": [...]}).'
        )
        raise TypeError(msg)
    absent = [name for name in _COLUMNS if name not in network.columns]
    if absent:
        found = {name: _meant(name, network.columns) for name in absent}
        renamed = {found[name] or f"<column of {_HOLDS[name]}>": name for name in absent}
        msg = (
            f"network has no column {absent[0]!r}, of {_HOLDS[absent[0]]}. It has: "
            f"{some([str(name) for name in network.columns], 20)}. Pass network.rename(columns={renamed!r})."
        )
        raise ValueError(msg)
    repeated = [name for name in (*_COLUMNS, "weight") if isinstance(network.get(name), pd.DataFrame)]
    if repeated:
        msg = f"network has several columns named {repeated[0]!r}. Rename all but one."
        raise ValueError(msg)
    if not len(network):
        msg = "network has no rows. Pass a table with a row for each known edge."
        raise ValueError(msg)
    nameless = network[list(_COLUMNS)].isna().any(axis=1)
    if nameless.any():
        msg = f'{nameless.sum()} rows of network lack a name. Remove them: network.dropna(subset=["source", "target"]).'
        raise ValueError(msg)
    table = pd.DataFrame({name: network[name].astype(str).to_numpy(dtype=object) for name in _COLUMNS})
    if "weight" in network:
        weight = pd.to_numeric(network["weight"], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(weight).all():
            msg = (
                f"network['weight'] holds {np.sum(~np.isfinite(weight))} values that are no finite numbers, such as "
                f"{network['weight'].to_numpy()[~np.isfinite(weight)][0]!r}. Mend them, or leave the column out: "
                'network.drop(columns="weight").'
            )
            raise ValueError(msg)
        table["weight"] = weight
    return table


def _meant(name: str, columns: pd.Index) -> str:
    """The column that is likely to be `name` by another name; or ""."""
    others = {str(column).strip().lower(): str(column) for column in columns if column not in _COLUMNS}
    return next((others[called] for called in _CALLED[name] if called in others), "")


def _listed(tfs: Iterable[str] | None, genes: pd.Index) -> list[str] | None:
    """The TFs that the data have, each once."""
    if tfs is None:
        return None
    if isinstance(tfs, str):
        msg = f"tfs is a single string, {tfs!r}. Pass a list of names, such as tfs=[{tfs!r}]."
        raise TypeError(msg)
    names = list(dict.fromkeys(str(name) for name in tfs))
    inside = [name for name in names if name in genes]
    if not inside:
        msg = (
            f"adata has none of the {counted(len(names), 'name')} in tfs ({some(names)}). Its genes are {some(genes)}."
        )
        raise ValueError(msg)
    unknown = [name for name in names if name not in genes]
    if unknown:
        logger.warning("adata lacks %d of tfs, which are left out (%s)", len(unknown), some(unknown))
    return inside


def _check_direction(table: pd.DataFrame, listed: list[str] | None) -> None:
    """Sources that look like targets."""
    sources, targets = table["source"].unique(), table["target"].unique()
    mend = 'Turn it round: network.rename(columns={"source": "target", "target": "source"})'
    if listed is not None:
        if not set(sources) & set(listed) and set(targets) & set(listed):
            msg = f"tfs are targets in network, and none of them is a source. {mend}."
            raise ValueError(msg)
    elif len(sources) >= _MIN_SOURCES and len(sources) > 3 * len(targets):
        msg = (
            f"network has {len(sources)} sources and {len(targets)} targets, so its columns look swapped: few TFs regulate "
            f"many genes. {mend}, or, if the sources are TFs indeed, list them in tfs=."
        )
        raise ValueError(msg)


def _no_overlap(table: pd.DataFrame, genes: pd.Index) -> str:
    names = pd.Index(table[list(_COLUMNS)].to_numpy().ravel()).unique()
    found = int(names.isin(genes).sum())
    what = (
        f"adata has {found} of the {counted(len(names), 'gene')} of network, but both ends of no edge"
        if found
        else f"adata has none of the {counted(len(names), 'gene')} of network"
    )
    mend = "Use names of one kind in both."
    if names.str.upper().isin(genes.str.upper()).sum() > found:
        mend = (
            "Names differ in upper and lower case, as between human and mouse: use a network of the right species, or "
            "change the case of one side."
        )
    return f"{what}: those are {some(names)}, adata.var_names are {some(genes)}. {mend}"
