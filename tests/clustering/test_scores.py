import numpy as np
import pytest
import scipy.sparse as sp

from scbignn.clustering import Config, row_sums
from scbignn.clustering._scores import all_components, chunks, draw, learn_scores, principal_axes


def counts(n=90, m=40, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    x = rng.poisson(np.where(np.arange(m) % 3 == kind[:, None], 4.0, 0.4) * rng.uniform(0.5, 2, (n, 1)))
    x[:, 0] += 1
    x[:, 5] = 0
    return x


def learn(x, **changes):
    config = Config(**{"n_top_genes": 25, "n_components": 6, **changes})
    rows = sp.csr_matrix(x, dtype=np.float32)
    scores = learn_scores(rows, rows.shape, config, np.random.default_rng(0))
    return scores, rows


def dense_z(x, scores, clip):
    total = x.sum(1, keepdims=True)
    logs = np.log1p(x / total * np.median(total))[:, scores.panel]
    return np.clip((logs - logs.mean(0)) / logs.std(0), -clip, clip)


@pytest.mark.parametrize("clip", [10.0, 1.0])
def test_z_scores_and_components_equal_dense_ones(clip):
    x = counts()
    scores, rows = learn(x, clip=clip)
    z = dense_z(x, scores, clip)
    found = scores.z_scores(rows[:, scores.panel], row_sums(rows))
    np.testing.assert_allclose(found, z, atol=1e-4)
    u, s, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
    points = all_components(rows, len(x), scores)
    np.testing.assert_allclose(np.abs(points), np.abs(u[:, :6] * s[:6]), atol=2e-3)
    assert 5 not in scores.panel
    np.testing.assert_allclose(scores.gene_share, x.sum(0) / x.sum())


def test_parts_of_the_cells_give_what_all_give(monkeypatch):
    x = counts()
    whole, rows = learn(x)
    monkeypatch.setattr("scbignn.clustering._scores.chunks", lambda n: chunks(n, 7))
    parts, _ = learn(x)
    for name in ("panel", "center", "scale", "middle"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.abs(all_components(rows, 90, parts)), np.abs(all_components(rows, 90, whole)), atol=1e-3
    )


def test_components_from_a_sample_are_near_those_from_all():
    x = counts(900)
    few, rows = learn(x, max_fit_cells=300, n_components=2)
    all_, _ = learn(x, n_components=2)
    one, other = (all_components(rows, 900, scores) for scores in (few, all_))
    for column in range(2):
        assert abs(np.corrcoef(one[:, column], other[:, column])[0, 1]) > 0.95


def test_missing_genes_score_as_the_mean():
    scores, rows = learn(counts())
    known = np.ones(len(scores.panel), dtype=bool)
    known[[2, 4]] = False
    z = scores.z_scores(rows[:, scores.panel], row_sums(rows), known)
    assert (z[:, [2, 4]] == 0).all()
    assert (z[:, 3] != 0).all()


def test_nothing_to_cluster_by():
    with pytest.raises(ValueError, match="0 of 4 genes vary"):
        learn(np.full((10, 4), 3))


def test_axes_are_orthonormal_and_of_known_sign():
    z = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    _, axes = principal_axes(z, 4)
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-5)
    assert (axes[np.abs(axes).argmax(0), np.arange(4)] > 0).all()


def test_draw():
    rng = np.random.default_rng(0)
    assert draw(5, 5, rng).tolist() == [0, 1, 2, 3, 4]
    some = draw(100, 10, rng)
    assert len(set(some)) == 10
    assert (np.diff(some) > 0).all()
    assert [c.stop - c.start for c in chunks(10, 4)] == [4, 4, 2]
