import logging

import numpy as np
import pandas as pd
import pytest

from scbignn import _genes
from scbignn._genes import GeneKind, biomart_lines, check_gene_overlap, explain, match_genes, remedies, tell_genes

SYMBOLS = [f"RPL{n}" for n in range(40)] + [f"MT-{n}" for n in range(5)] + [f"CD{n}" for n in range(55)]
MOUSE = [name.capitalize() for name in SYMBOLS]
IDS = [f"ENSG{n:011d}" for n in range(100)]
VERSIONED = [f"{name}.{n % 7 + 1}" for n, name in enumerate(IDS)]


# --- what names are -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kind", "species"),
    [
        (IDS, "Ensembl ids", "human"),
        (VERSIONED, "Ensembl ids", "human"),
        ([f"ENSMUSG{n:011d}" for n in range(9)], "Ensembl ids", "mouse"),
        ([f"ENSXETG{n:011d}" for n in range(9)], "Ensembl ids", ""),
        ([f"WBGene{n:08d}" for n in range(9)], "Ensembl ids", "worm"),
        ([*IDS, "GFP", "tdTomato", None], "Ensembl ids", "human"),
        (SYMBOLS, "symbols", "human"),
        (MOUSE, "symbols", "mouse"),
        ([name.lower() for name in SYMBOLS], "symbols", "zebrafish"),
        (["C1orf112", "TP53", "CD3D"], "symbols", ""),  # too few to guess from
        (["actb-1", "daf-16"] * 100, "symbols", ""),  # small letters alone say little
        (["0", "1", "2"], "numbers", ""),
        ([7157, 1956], "numbers", ""),
        (["gene_0", "gene_1"], "placeholders", ""),
        (["V1", "V2", "V3"], "placeholders", ""),
        ([], "symbols", ""),
        ([None, np.nan, ""], "symbols", ""),
    ],
)
def test_kind_and_species(names, kind, species):
    found = tell_genes(names)
    assert (found.kind, found.species) == (kind, species)
    assert bool(found.evidence) == (bool(species) or kind == "Ensembl ids")


def test_versions_are_counted():
    assert tell_genes(VERSIONED[:60] + IDS[60:]).n_versions == 60
    assert tell_genes(["RP11-206L10.2", "AC000.1"]).n_versions == 0


def test_evidence_counts():
    assert tell_genes(SYMBOLS).evidence == "100% in capitals, 40 of RPL or RPS, 5 of MT-"
    assert str(tell_genes(SYMBOLS)) == "human symbols"
    assert str(GeneKind("numbers")) == "numbers"


# --- matching -------------------------------------------------------------------------------------------------------


def test_positions_and_share():
    match = match_genes(["b", "x", "a", "y"], pd.Index(["a", "b", "c"]))
    assert match.positions.dtype == np.int64
    assert match.positions.tolist() == [1, -1, 0, -1]
    assert match.share == 0.5
    positions, share = match
    assert (positions is match.positions, share) == (True, 0.5)


@pytest.mark.parametrize(("model", "query"), [(IDS, VERSIONED), (VERSIONED, IDS)])
def test_versions_do_not_matter(model, query):
    order = np.random.default_rng(0).permutation(100)
    match = match_genes(model, [query[place] for place in order])
    np.testing.assert_array_equal(order[match.positions], np.arange(100))
    assert match.share == 1


def test_other_versions_match():
    assert match_genes([f"{IDS[0]}.1"], [f"{IDS[0]}.9"]).positions.tolist() == [0]


def test_an_exact_name_goes_before_one_without_version():
    assert match_genes([IDS[0], VERSIONED[1]], [VERSIONED[0], IDS[0], IDS[1]]).positions.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ([IDS[0]], [f"{IDS[0]}.1", f"{IDS[0]}.2"]),
        ([f"{IDS[0]}.1", f"{IDS[0]}.2"], [IDS[0]]),
        ([f"{IDS[0]}.1"], [f"{IDS[0]}.3_PAR_Y"]),
    ],
)
def test_ambiguous_versions_match_nothing(model, query):
    assert match_genes(model, query).share == 0


def test_a_query_gene_is_found_once():
    # The second model gene is the first without its version, whose place is taken.
    assert match_genes([f"{IDS[0]}.1", IDS[0]], [f"{IDS[0]}.1"]).positions.tolist() == [0, -1]


def test_dots_of_symbols_are_no_versions():
    assert match_genes(["RP11-206L10.2"], ["RP11-206L10.9", "RP11-206L10"]).share == 0


def test_of_repeated_names_the_first():
    assert match_genes(["a"], ["b", "a", "a"]).positions.tolist() == [1]


def test_missing_names_match_nothing():
    assert match_genes(["nan", "None", "a"], [None, np.nan, pd.NA, "", "a"]).positions.tolist() == [-1, -1, 4]


def test_nothing_to_match():
    assert match_genes([], ["a"]).share == 0
    assert match_genes(["a"], []).positions.tolist() == [-1]


def test_against_pandas():
    rng = np.random.default_rng(0)
    model, query = (rng.permutation(400)[:250].astype(str) for _ in range(2))
    np.testing.assert_array_equal(match_genes(model, query).positions, pd.Index(query).get_indexer(model))


# --- remedies -------------------------------------------------------------------------------------------------------


def test_the_best_remedy_first():
    others = {"half": SYMBOLS[:50], "all": SYMBOLS, "none": MOUSE, "same": IDS}
    assert [(remedy.line, remedy.share) for remedy in remedies(SYMBOLS, IDS, others)] == [("all", 1.0), ("half", 0.5)]


def test_case_is_a_remedy_that_works():
    (remedy,) = remedies(SYMBOLS, MOUSE, {}, genes="names")
    adata = type("Adata", (), {"var_names": pd.Index(MOUSE)})()
    exec(remedy.line, {"adata": adata, "names": SYMBOLS})
    assert remedy.share == match_genes(SYMBOLS, adata.var_names).share == 1


def test_no_remedy_where_nothing_helps():
    assert remedies(SYMBOLS, SYMBOLS, {"other": SYMBOLS}) == []


@pytest.mark.parametrize(
    ("model", "query", "fragments"),
    [
        (SYMBOLS, IDS, ["adata has human Ensembl ids", "the model has human symbols"]),
        (SYMBOLS, MOUSE, ["adata seems mouse (100% with one capital", "the model human (", "orthologues"]),
        (IDS, [f"ENSMUSG{n:011d}" for n in range(9)], ["adata seems mouse", "the model human"]),
        (SYMBOLS, SYMBOLS[:20], ["20 genes only", "before genes were selected"]),
    ],
)
def test_explanations(model, query, fragments):
    text = explain(model, query)
    assert [fragment for fragment in fragments if fragment not in text] == []


def test_no_explanation():
    assert explain(SYMBOLS, [f"OTHER{n}" for n in range(100)]) == ""


def test_biomart_lines_map_ids_to_symbols():
    lines = biomart_lines(SYMBOLS, VERSIONED)
    table = pd.DataFrame({"ensembl_gene_id": IDS, "external_gene_name": SYMBOLS})
    asked = []
    queries = type("Queries", (), {"biomart_annotations": lambda *given: asked.append(given) or table[given[1]]})
    adata = type("Adata", (), {"var_names": pd.Index(VERSIONED), "var": pd.DataFrame(index=VERSIONED)})()
    exec(lines, {"sc": type("Scanpy", (), {"queries": queries}), "adata": adata})
    assert asked == [("hsapiens", ["ensembl_gene_id", "external_gene_name"])]
    assert adata.var["external_gene_name"].tolist() == SYMBOLS
    assert 'gene_symbols="external_gene_name"' in lines
    assert '"external_gene_name", "ensembl_gene_id"' in biomart_lines(IDS, SYMBOLS)


@pytest.mark.parametrize(("model", "query"), [(SYMBOLS, SYMBOLS), (IDS, MOUSE), (IDS, ["gene_1"]), (["a"], ["b"])])
def test_no_biomart_lines(model, query):
    assert biomart_lines(model, query) == ""


# --- the check ------------------------------------------------------------------------------------------------------


def test_enough_genes():
    match = check_gene_overlap(SYMBOLS, SYMBOLS[:50])
    assert match.share == 0.5
    assert check_gene_overlap(SYMBOLS, SYMBOLS[:10], min_gene_overlap=0.1).share == 0.1


@pytest.mark.parametrize(
    ("model", "query", "others", "fragments"),
    [
        (SYMBOLS, IDS, {}, ["only 0 of the 100 genes of the model (0.0%)", "'RPL0'", f"'{IDS[0]}'", "biomart"]),
        (SYMBOLS, IDS, {"gene_symbols='name'": SYMBOLS}, ["Ensembl ids", "100% are found with: gene_symbols='name'"]),
        (SYMBOLS, MOUSE, {}, ["adata seems mouse", "100% are found with: known =", "model.genes"]),
        (SYMBOLS, SYMBOLS[:49], {}, ["only 49 of the 100", "49.0%", "before genes were selected"]),
        (SYMBOLS, ["gene_0", "gene_1"], {}, ["placeholders", "gene_symbols= or adata.var_names"]),
        (SYMBOLS, [], {}, ["only 0 of the 100", "none"]),
    ],
)
def test_too_few_genes(model, query, others, fragments):
    with pytest.raises(ValueError) as caught:
        check_gene_overlap(model, query, others=others)
    message = caught.value.args[0]
    assert [fragment for fragment in fragments if fragment not in message] == []
    assert "\n" not in message


def test_no_gene_at_all_is_always_too_few():
    with pytest.raises(ValueError, match="only 0 of"):
        check_gene_overlap(["a"], ["b"], min_gene_overlap=0)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, True])
def test_bad_share(value):
    with pytest.raises(ValueError, match="min_gene_overlap=.*from 0 to 1"):
        check_gene_overlap(["a"], ["a"], min_gene_overlap=value)


def test_matching_without_version_is_logged(caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        check_gene_overlap(IDS, VERSIONED)
    assert [record.getMessage() for record in caplog.records] == [
        "100 genes of the model matched but for the version of the Ensembl id"
    ]


def test_repeated_names_are_logged(caplog):
    check_gene_overlap(["a", "b"], ["a", "b", "b", "c", "c"])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 gene of the model more than once" in record.getMessage()
    assert "'b'" in record.getMessage()


def test_an_exact_match_is_silent(caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        check_gene_overlap(SYMBOLS, SYMBOLS)
    assert caplog.records == []


def test_without_version():
    names = np.array([*VERSIONED[:2], "RP11.2", None], dtype=object)
    assert _genes.without_version(names).tolist() == [*IDS[:2], "RP11.2", None]
