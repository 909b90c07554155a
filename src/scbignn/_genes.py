"""Gene names: of what kind they are, whose, and where the genes of a model lie among those of a query."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np
import pandas as pd

from ._check import counted, some

logger = logging.getLogger(__name__)

_ENSEMBL = r"(ENS[A-Z]*G|FBgn|WBGene)\d{7,11}(?:\.\d+)?"
_VERSION = r"^(ENS[A-Z]*\d{11})\.\d+$"
_PLACEHOLDER = r"(?i:gene|feature|var|v|g|x)[ ._-]?\d+"
#: Species of the prefixes met most often.
_SPECIES = {
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSDARG": "zebrafish",
    "ENSMMUG": "macaque",
    "ENSSSCG": "pig",
    "ENSGALG": "chicken",
    "FBgn": "fruit fly",
    "WBGene": "worm",
}
#: Species by how symbols are written: the style, ribosomal proteins in words and as a pattern, mitochondrial prefix.
_STYLES = {
    "human": ("in capitals", "RPL or RPS", r"RP[LS]\d", "MT-"),
    "mouse": ("with one capital first", "Rpl or Rps", r"Rp[ls]\d", "mt-"),
    "zebrafish": ("in small letters", "rpl or rps", r"rp[ls]\d", "mt-"),
}
_BIOMART = {"human": "hsapiens", "mouse": "mmusculus", "rat": "rnorvegicus", "zebrafish": "drerio"}
#: So many names show how a species writes them, also where no ribosomal or mitochondrial gene is among them.
_ENOUGH = 100


@dataclass(frozen=True)
class GeneKind:
    """What names look like."""

    kind: str
    """"Ensembl ids", "symbols", "numbers", or "placeholders" such as gene_0."""
    species: str = ""
    """A guess; "" where there is none."""
    evidence: str = ""
    """What the guess rests on."""
    n_versions: int = 0
    """Ensembl ids that end in a version, such as ENSG00000141510.18."""

    def __str__(self) -> str:
        return f"{self.species} {self.kind}".strip()


class GeneMatch(NamedTuple):
    """Where the genes of a model lie in a query."""

    positions: np.ndarray
    """int64, (n_model_genes,): place among the names of the query, -1 where missing."""
    share: float
    """Of the genes of the model, those found."""


class Remedy(NamedTuple):
    """Something that raises the share of genes found."""

    share: float
    """What it becomes."""
    line: str
    """The argument or the line of code that does it."""


def tell_genes(names: Iterable[object]) -> GeneKind:
    """Of what kind names are, by what most of them look like, and of which species they seem."""
    strings = pd.Series(_strings(names), dtype=object).dropna()
    if strings.empty:
        return GeneKind("symbols")
    prefixes = strings.str.extract(rf"^{_ENSEMBL}$", expand=False).dropna()
    if len(prefixes) > len(strings) / 2:
        prefix = prefixes.mode()[0]
        evidence = f"{(prefixes == prefix).mean():.0%} begin with {prefix}"
        return GeneKind("Ensembl ids", _SPECIES.get(prefix, ""), evidence, int(strings.str.match(_VERSION).sum()))
    for kind, pattern in (("numbers", r"\d+(?:\.0)?"), ("placeholders", _PLACEHOLDER)):
        if strings.str.fullmatch(pattern).mean() > 0.5:
            return GeneKind(kind)
    return GeneKind("symbols", *_species_of_symbols(strings))


def _species_of_symbols(strings: pd.Series) -> tuple[str, str]:
    """Species and evidence, told from small and capital letters."""
    letters = strings.str.replace(r"[^A-Za-z]", "", regex=True)
    letters = letters[letters.str.len() > 1]
    if letters.empty:
        return "", ""
    shares = {
        "human": letters.str.isupper().mean(),
        "mouse": (letters.str[0].str.isupper() & ~letters.str.isupper()).mean(),
        "zebrafish": letters.str.islower().mean(),
    }
    species = max(shares, key=shares.get)
    style, proteins, ribosomal, mitochondrial = _STYLES[species]
    n_ribosomal = int(strings.str.match(ribosomal).sum())
    n_mitochondrial = int(strings.str.startswith(mitochondrial).sum())
    known = n_ribosomal + n_mitochondrial
    if shares[species] < 0.6 or (known == 0 and (species == "zebrafish" or len(letters) < _ENOUGH)):
        return "", ""
    parts = [f"{shares[species]:.0%} {style}"]
    if known:
        parts.append(f"{n_ribosomal} of {proteins}, {n_mitochondrial} of {mitochondrial}")
    return species, ", ".join(parts)


def match_genes(model_genes: Iterable[object], query_names: Iterable[object]) -> GeneMatch:
    """Find each gene of a model in a query.

    A gene is where the query has its name, the first place where it has it several times. A gene that is nowhere is
    looked for once more without the version of its Ensembl id (ENSG00000141510.18 is ENSG00000141510), and taken where
    that leaves one gene on either side. Missing names match nothing.

    Parameters
    ----------
    model_genes
        Names, all different.
    query_names
        Names of the query, in its order: `adata.var_names` or a column of `adata.var`.
    """
    model, query = _strings(model_genes), _strings(query_names)
    positions = _lookup(query)(model)
    lost = positions < 0
    if lost.any() and len(query):
        model_ids, query_ids = without_version(model), without_version(query)
        free = np.ones(len(query), dtype=bool)
        free[positions[~lost]] = False
        alone = ~pd.Series(model_ids).duplicated(keep=False).to_numpy()
        query_ids[~free | pd.Series(query_ids).duplicated(keep=False).to_numpy()] = None
        again = np.flatnonzero(lost & alone)
        positions[again] = _lookup(query_ids)(model_ids[again])
    return GeneMatch(positions, float(np.mean(positions >= 0)) if len(model) else 0.0)


def _strings(names: Iterable[object]) -> np.ndarray:
    """Names as an array of str, with None where one is missing or empty."""
    values = pd.Series(list(names), dtype=object)
    found = [
        None if lost or not str(name).strip() else str(name) for name, lost in zip(values, values.isna(), strict=True)
    ]
    return pd.Series(found, dtype=object).to_numpy()


def without_version(names: np.ndarray) -> np.ndarray:
    """Ensembl ids without their version, other names as they are."""
    found = np.array(names, dtype=object)
    for place, name in enumerate(names):
        if isinstance(name, str) and name.startswith("ENS"):
            found[place] = re.sub(_VERSION, r"\1", name)
    return found


def _lookup(names: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from names to the first place of each in `names`, -1 for those not there and for None."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if isinstance(name, str):
            places.setdefault(name, place)
    return lambda wanted: np.array([places.get(name, -1) for name in wanted], dtype=np.int64)


def remedies(
    model_genes: Iterable[object],
    query_names: Iterable[object],
    others: Mapping[str, Iterable[object]],
    *,
    genes: str = "model.genes",
    target: str = "adata.var_names",
) -> list[Remedy]:
    """What would find more of the genes, the best first.

    Parameters
    ----------
    model_genes, query_names
        As in :func:`match_genes`.
    others
        Other names of the genes of the query, by the argument or line of code that chooses them.
    genes, target
        How lines of code write `model_genes` and `query_names`.
    """
    model, query = _strings(model_genes), _strings(query_names)
    share = match_genes(model, query).share
    found = [Remedy(match_genes(model, names).share, line) for line, names in others.items()]
    by_case = match_genes(_upper(model), _upper(query)).share
    line = (
        f"known = {{name.upper(): name for name in {genes}}}\n"
        f"{target} = [known.get(str(name).upper(), name) for name in {target}]"
    )
    found.append(Remedy(by_case, line))
    return sorted((remedy for remedy in found if remedy.share > share + 0.01), key=lambda remedy: -remedy.share)


def _upper(names: np.ndarray) -> np.ndarray:
    return np.array([name.upper() if isinstance(name, str) else None for name in names], dtype=object)


def explain(model_genes: Iterable[object], query_names: Iterable[object], *, other: str = "the model") -> str:
    """Why names do not meet, in one sentence; "" where that cannot be told."""
    model, query = _strings(model_genes), _strings(query_names)
    ours, theirs = tell_genes(query), tell_genes(model)
    if ours.kind != theirs.kind:
        return f"adata has {ours}, {other} has {theirs}."
    if ours.species and theirs.species and ours.species != theirs.species:
        return (
            f"adata seems {ours.species} ({ours.evidence}), {other} {theirs.species} ({theirs.evidence}); "
            "genes of one name in two species are mostly, but not always, orthologues."
        )
    if len(query) < len(model) / 2 and match_genes(query, model).share > 0.5:
        return f"adata has {len(query):,} genes only: use it as it was before genes were selected."
    return ""


def biomart_lines(
    model_genes: Iterable[object], query_names: Iterable[object], *, target: str = "adata.var_names"
) -> str:
    """Lines that give a query the other kind of names, by a table from Ensembl; "" where that does not apply."""
    ours, theirs = tell_genes(query_names), tell_genes(model_genes)
    species = _BIOMART.get(ours.species or theirs.species)
    kinds = ("Ensembl ids", "ensembl_gene_id"), ("symbols", "external_gene_name")
    columns = [dict(kinds).get(names.kind) for names in (ours, theirs)]
    if (
        species is None
        or None in columns
        or columns[0] == columns[1]
        or (ours.species and theirs.species and ours.species != theirs.species)
    ):
        return ""
    names = rf'{target}.str.replace(r"\.\d+$", "", regex=True)' if ours.n_versions else target
    return (
        f'table = sc.queries.biomart_annotations("{species}", ["{columns[0]}", "{columns[1]}"])\n'
        f'adata.var["{columns[1]}"] = {names}.map(dict(table.dropna().to_numpy()))  # then gene_symbols="{columns[1]}"'
    )


def check_gene_overlap(
    model_genes: Iterable[object],
    query_names: Iterable[object],
    *,
    min_gene_overlap: float = 0.5,
    others: Mapping[str, Iterable[object]] | None = None,
    target: str = "adata.var_names",
) -> GeneMatch:
    """Find the genes of a model in a query, and refuse the query if too few are there.

    Parameters
    ----------
    model_genes, query_names
        As in :func:`match_genes`.
    min_gene_overlap
        Smallest share of the model's genes to go on with, within [0, 1].
    others, target
        As in :func:`remedies`; the message names the best remedy.

    Raises
    ------
    ValueError
        Fewer genes are there. The message says how many, with examples of both sides, why, and what mends it.
    """
    is_number = isinstance(min_gene_overlap, Real) and not isinstance(min_gene_overlap, bool)
    if not is_number or not 0 <= min_gene_overlap <= 1:
        msg = f"min_gene_overlap={min_gene_overlap!r} must be a number from 0 to 1. Use for example 0.5."
        raise ValueError(msg)
    model, query = _strings(model_genes), _strings(query_names)
    match = match_genes(model, query)
    found = match.positions >= 0
    if match.share < min_gene_overlap or not found.any():
        msg = (
            f"only {found.sum()} of the {len(model)} genes of the model ({match.share:.1%}) are in adata. The model has "
            f"{some(model, 3)}; adata has {some(query, 3)}. {_advice(model, query, others or {}, target)}"
        )
        raise ValueError(msg)
    exact = _lookup(query)(model) >= 0
    if (found & ~exact).any():
        number = counted(int((found & ~exact).sum()), "gene")
        logger.info("%s of the model matched but for the version of the Ensembl id", number)
    counts = pd.Series(query).value_counts()
    repeated = [name for name in model[exact] if counts[name] > 1]
    if repeated:
        number = counted(len(repeated), "gene")
        logger.warning("%s of the model more than once in adata (%s): the first counts", number, some(repeated))
    return match


def _advice(model: np.ndarray, query: np.ndarray, others: Mapping[str, Iterable[object]], target: str) -> str:
    """Why genes are missing, and what to do about it."""
    why = explain(model, query)
    parts = [why] if why else []
    best = remedies(model, query, others, target=target)
    lines = biomart_lines(model, query, target=target)
    if best:
        parts.append(f"{best[0].share:.0%} are found with: {best[0].line}")
    elif lines:
        parts.append(f"Name the genes alike: {lines}")
    else:
        parts.append(
            "Name the genes of adata as those of the model are named, by gene_symbols= or adata.var_names; genes of "
            "another species need a table of orthologues."
        )
    return " ".join(parts).replace("\n", "; ")
