import logging

import numpy as np
import pandas as pd
import pytest

from scbignn.regulation import read_network

GENES = pd.Index([f"g{number}" for number in range(30)])


def table(*edges, **columns):
    return pd.DataFrame([edge.split(">") for edge in edges], columns=["source", "target"]).assign(**columns)


def test_edges_are_found_among_the_genes():
    found = read_network(table("g3>g1", "g3>g2", "g0>g3"), GENES)
    np.testing.assert_array_equal(found.tfs, [0, 3])
    assert found.n_with_edges == 2
    assert [(int(tf), int(gene)) for tf, gene in np.argwhere(found.known)] == [(0, 3), (1, 1), (1, 2)]


def test_what_is_left_out_is_counted_and_said(caplog):
    edges = table("g0>g1", "g0>g1", "g2>g2", "g0>absent", "other>g1", "g0>g4", weight=[1, 1, 1, 1, 1, 0])
    with caplog.at_level(logging.INFO, "scbignn"):
        found = read_network(edges, GENES)
    report = found.report
    assert found.known.sum() == report["n_edges"] == 1
    counts = ("n_given", "n_repeated", "n_self", "n_absent", "n_weight_zero")
    assert [report[name] for name in counts] == [6, 1, 1, 2, 1]
    assert list(report["missing"]) == ["absent", "other"]
    assert "1 edge told before left out" in caplog.text
    assert "2 edges of genes that adata lacks left out" in caplog.text


def test_tfs_choose_sources_and_may_lack_edges(caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        found = read_network(table("g0>g1", "g2>g1"), GENES, tfs=["g9", "g0", "nowhere"])
    np.testing.assert_array_equal(found.tfs, [0, 9])
    assert found.n_with_edges == 1
    assert list(found.report["without_edges"]) == ["g9"]
    assert found.report["n_other_sources"] == 1
    assert "lacks 1 of tfs" in caplog.text


MANY = [f"g{number}>g0" for number in range(1, 25)]


@pytest.mark.parametrize(
    ("network", "tfs", "error", "message"),
    [
        ([("a", "b")], None, TypeError, "network is a list, not a DataFrame"),
        (pd.DataFrame({"TF": ["g0"], "gene": ["g1"]}), None, ValueError, r"rename\(columns=\{'TF': 'source', 'gene'"),
        (table(), None, ValueError, "no rows"),
        (table("g0>g1").assign(source=None), None, ValueError, r"dropna\(subset="),
        (table("g0>g1", weight=["x"]), None, ValueError, "no finite numbers, such as 'x'"),
        (table("g0>g1", weight=[np.nan]), None, ValueError, "no finite numbers"),
        (table("A>B"), None, ValueError, "none of the 2 genes.*Use names of one kind"),
        (table("G0>G1"), None, ValueError, "upper and lower case"),
        (table("g0>absent"), None, ValueError, "both ends of no edge"),
        (
            table("g0>g0"),
            None,
            ValueError,
            "none of the 1 edge of network is of use: 0 have weight 0, 1 go from a gene",
        ),
        (table("g0>g1", weight=[0]), None, ValueError, "1 have weight 0"),
        (table(*MANY), None, ValueError, "look swapped"),
        (table("g1>g0"), ["g0"], ValueError, "tfs are targets in network"),
        (table("g1>g2"), ["g0"], ValueError, "starts at one of tfs"),
        (table("g1>g2"), ["x"], ValueError, "adata has none of the 1 name in tfs"),
        (table("g1>g2"), "g1", TypeError, r"tfs=\['g1'\]"),
        (pd.concat([table("g0>g1"), table("g0>g1")[["source"]]], axis=1), None, ValueError, "several columns"),
    ],
)
def test_what_cannot_be_used_is_refused(network, tfs, error, message):
    with pytest.raises(error, match=message):
        read_network(network, GENES, tfs)


@pytest.mark.parametrize(
    ("columns", "renamed"),
    [
        (["target", "tf"], {"tf": "source"}),
        (["tf", "confidence", "target", "mor"], {"tf": "source"}),
        (["Unnamed: 0", "TF", "Target"], {"TF": "source", "Target": "target"}),
        (["weight", "regulator", "gene"], {"regulator": "source", "gene": "target"}),
        (["source", "TF"], {"<column of genes that they regulate>": "target"}),
        (["a", "b"], {"<column of TFs>": "source", "<column of genes that they regulate>": "target"}),
    ],
)
def test_other_names_of_columns_are_told_only_where_they_are_known(columns, renamed):
    with pytest.raises(ValueError, match="network has no column") as refused:
        read_network(pd.DataFrame([["g0"] * len(columns)], columns=columns), GENES)
    assert str(refused.value).endswith(f"Pass network.rename(columns={renamed!r}).")


def test_many_sources_are_believed_where_they_are_listed():
    assert read_network(table(*MANY), GENES, [f"g{number}" for number in range(1, 25)]).known.sum() == 24


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr("scbignn.regulation._network._MAX_PAIRS", 20)
    with pytest.raises(ValueError, match="1 TFs x 30 genes are more than 20 pairs"):
        read_network(table("g0>g1"), GENES)
