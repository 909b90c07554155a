import logging

import pytest

import scbignn
from scbignn.clustering import Config, Model

QUICK = Config(n_anchors=20, n_anchor_sets=2, n_components=6, n_resamples=0)


@pytest.fixture
def cells():
    return scbignn.datasets.simulated(n_cells=90, n_genes=60, fold_change=20.0)


def test_nothing_is_written(cells, contents, caplog):
    before = contents(cells)
    with caplog.at_level(logging.INFO, "scbignn"):
        model = scbignn.tl.fit_clusters(cells, 3, config=QUICK)
    assert contents(cells) == before
    assert isinstance(model, Model)
    assert repr(model) == "clustering model: 3 clusters, 60 genes (60 used), 2 sets of 18 anchors"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["fit_clusters"] * 3
    assert model.about["n_obs"] == 90
    assert model.about["expression"] == "counts"


def test_the_number_may_be_estimated(cells):
    assert scbignn.tl.fit_clusters(cells, config=QUICK).n_clusters == 3


def test_genes_by_another_name(cells):
    cells.var["symbol"] = [f"S{number}" for number in range(59)] + [""]
    model = scbignn.tl.fit_clusters(cells, 3, gene_symbols="symbol", config=QUICK)
    assert model.genes.tolist() == [f"S{number}" for number in range(59)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_clusters": 1}, ValueError, "n_clusters=1 must be at least 2"),
        ({"gene_symbols": "no"}, KeyError, "adata.var has no column 'no'"),
        ({"layer": "no"}, KeyError, "adata.layers has no 'no'"),
        ({"config": 3}, TypeError, "config is a int"),
    ],
)
def test_what_is_refused(cells, arguments, error, message):
    with pytest.raises(error, match=message):
        scbignn.tl.fit_clusters(cells, **arguments)
