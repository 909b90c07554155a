"""What genes are called, and how many of a reference's are there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .._check import counted, some
from .._genes import biomart_lines, explain, match_genes, remedies, tell_genes
from ._report import Finding

#: Below the first share, a problem; below the second, worth a look.
_PROBLEM, _NOTE = 0.5, 0.9


def gene_findings(
    names: pd.Index, others: Mapping[str, pd.Index], empty: np.ndarray | None, *, slot: str
) -> list[Finding]:
    """Kind and species of gene names, what is wrong with them, and which other names the genes have.

    Parameters
    ----------
    names
        Of the genes, (M,).
    others
        Other names of them, by the argument or line of code that chooses them.
    empty
        Which genes are zero in every cell, (M,); None where that is not known.
    slot
        Where the names are from: "var_names" or a column of var.
    """
    kind = tell_genes(names)
    text = f"{len(names):,} {kind.kind} in {slot}, such as {some(names, 3).removesuffix(', ...')}"
    if kind.species:
        text += f"; {kind.species}, as it seems: {kind.evidence}"
    if kind.n_versions:
        text += f"; {kind.n_versions:,} with a version, which does not hinder matching"
    level = "ok"
    if kind.kind in {"numbers", "placeholders"}:
        level = "note"
        text += ". Such names match no reference of other data"
    differing = [line for line, column in others.items() if tell_genes(column).kind not in {kind.kind, "placeholders"}]
    mend = differing[0] if level == "note" and differing else ""
    if level == "ok":
        text += "".join(f"; {tell_genes(others[line]).kind} with {line}" for line in differing[:1])
    found = [Finding("genes", level, text, mend)]
    strings = names.astype(object)
    missing = pd.isna(strings) | np.array(
        [isinstance(name, str) and name.strip() in {"", "nan", "NaN"} for name in strings]
    )
    if missing.any():
        mend = "adata = adata[:, ~adata.var_names.isin(['', 'nan', 'NaN'])].copy()" if slot == "var_names" else ""
        found.append(Finding("gene names", "note", f"{counted(missing.sum(), 'gene')} without a name", mend))
    repeated = strings[~missing][pd.Index(strings[~missing]).duplicated()].unique()
    if len(repeated):
        text = f"{counted(len(repeated), 'name')} more than once: {some(repeated)}"
        if slot == "var_names":
            found.append(Finding("gene names", "problem", text, "adata.var_names_make_unique()"))
        else:
            found.append(Finding("gene names", "note", f"{text}. The first of each counts"))
    if empty is not None and empty.any():
        text = f"{counted(empty.sum(), 'gene')} without a count in any cell, which does no harm"
        found.append(Finding("empty genes", "ok", text))
    return found


def overlap_findings(
    reference_genes: pd.Index,
    names: pd.Index,
    others: Mapping[str, pd.Index],
    reference_others: Mapping[str, pd.Index],
    *,
    genes: str,
    target: str = "adata.var_names",
) -> list[Finding]:
    """How many genes of a reference are there, and what would find more.

    Parameters
    ----------
    reference_genes, names
        Names of either side.
    others, reference_others
        Other names of either side, by the argument or line of code that chooses them.
    genes, target
        How lines of code write `reference_genes` and `names`.
    """
    match = match_genes(reference_genes, names)
    missing = np.asarray(reference_genes, dtype=object)[match.positions < 0]
    text = f"{match.share:.1%} of the reference's {counted(len(reference_genes), 'gene')} are there"
    there = match.positions >= 0
    n_stripped = int(
        np.sum(np.asarray(reference_genes, dtype=str)[there] != np.asarray(names, dtype=str)[match.positions[there]])
    )
    if n_stripped:
        text += f" ({n_stripped:,} of them but for the version of their Ensembl id)"
    examples = f". {len(missing):,} are missing: {some(missing, 3)}" if len(missing) else ""
    if match.share >= _NOTE:
        return [Finding("reference genes", "ok", text + examples)]
    best = remedies(reference_genes, names, others, genes=genes, target=target)
    best += [
        (share, line)
        for line, column in reference_others.items()
        if (share := match_genes(column, names).share) > match.share + 0.01
    ]
    best.sort(key=lambda remedy: -remedy[0])
    why = explain(reference_genes, names, other="the reference")
    mend = biomart_lines(reference_genes, names, target=target)
    if best:
        share, mend = best[0]
        text += f", {share:.1%} with the code below"
    if why:
        text += f". {why[:-1]}"
    level = "problem" if match.share < _PROBLEM else "note"
    return [Finding("reference genes", level, text + examples, mend)]
