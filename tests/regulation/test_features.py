import numpy as np
import pytest

from scbignn.regulation import SPLITS, describe_genes, expression_encoder, fit_degree
from scbignn.regulation._features import expression_features, network_features


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    known, shown = rng.random((8, 30)) < 0.3, rng.random((8, 30)) < 0.8
    tfs = np.arange(8)
    genes = describe_genes(rng.random((40, 30)), tfs, expression_encoder(4), rng=rng)
    return known, shown, tfs, genes


@pytest.mark.parametrize("symmetric", [False, True])
def test_hidden_edges_change_no_feature(problem, symmetric):
    known, shown, tfs, genes = problem
    logits = fit_degree(known, shown).logits()
    other = known ^ (~shown & (np.random.default_rng(1).random(known.shape) < 0.5))
    assert (other != known).any()
    found = [network_features(edges, shown, logits, tfs, symmetric=symmetric).values for edges in (known, other)]
    np.testing.assert_array_equal(*found)
    for split in SPLITS:
        found = [expression_features(edges, shown, logits, genes, split).values for edges in (known, other)]
        np.testing.assert_array_equal(*found)


def test_features_are_named_and_finite(problem):
    known, shown, tfs, genes = problem
    for hidden in (shown, np.zeros_like(shown)):
        logits = fit_degree(known, hidden).logits()
        for found in (
            network_features(known, hidden, logits, tfs, symmetric=True),
            expression_features(known, hidden, logits, genes, "edge"),
        ):
            assert found.values.shape == (8, 30, len(found.names))
            assert np.isfinite(found.values).all()
            assert len(set(found.names)) == len(found.names)


def test_common_neighbours_are_counted(problem):
    known, shown, tfs, _ = problem
    logits = fit_degree(known, shown).logits()
    found = network_features(known, shown, logits, tfs, symmetric=False)
    around = np.zeros((30, 30), dtype=bool)
    around[tfs] = known & shown
    around |= around.T
    counts = around[tfs].astype(float) @ around
    np.testing.assert_array_equal(found.values[:, :, found.names.index("common neighbours")], counts)


def test_correlations_with_a_held_out_tf_are_left_out(problem):
    known, shown, _, genes = problem
    logits = np.zeros(known.shape)
    assert "correlation" in expression_features(known, shown, logits, genes, "target").names
    assert "correlation" not in expression_features(known, shown, logits, genes, "tf").names
