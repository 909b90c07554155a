import dataclasses

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU, tiny

from scbignn._settings import settings
from scbignn.annotation import (
    _annotate,
    _evidence,
    annotate_cells,
    choose_target_sum,
    fit,
    fit_anchor,
    importance_of,
    normalize,
    raw_neighbors,
    top_variance_genes,
    unit_rows,
)
from scbignn.graph import homophily, homophily_per_label


@pytest.fixture(autouse=True)
def quiet():
    with settings.override(progress=False):
        yield


def counts(n=40, m=20, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    x = rng.poisson(np.where(np.arange(m) % 3 == kind[:, None], 4.0, 0.6))
    x[:, 5] = 0
    x[np.arange(n), kind] += 1
    y = np.where(rng.random(n) < 0.4, -1, kind)
    y[:3] = [0, 1, 2]
    return sp.csr_matrix(x, dtype=np.float32), y.astype(np.int64)


def run(config, x, y, seed=0):
    return annotate_cells(x, y, 3, config, device=CPU, engine="torch", seed=seed)


def test_every_part_is_what_its_own_function_gives():
    config, (x, y) = tiny(n_top_genes=9), counts()
    found = run(config, x, y)
    z = normalize(x, config.target_sum)
    genes = top_variance_genes(z, 9)
    z = z[:, genes]
    alone = fit(z, y, 3, config, device=CPU, engine="torch", seed=0)
    np.testing.assert_array_equal(found.genes, reference.top_variance_genes(reference.normalize(x.toarray(), 1e4), 9))
    np.testing.assert_array_equal(found.fit.p, alone.p)
    expected = importance_of(alone.gene_gnn, z, alone.p.argmax(1), 3, min_count=1, device=CPU)
    for part, other in zip((*found.importance, *found.edges), (*expected[0], *expected[2]), strict=True):
        np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(found.attention.toarray(), expected[1].toarray())
    for name, graph in (("learned", alone.neighbors), ("raw", raw_neighbors(z, 3, device=CPU, seed=0))):
        edges = reference.adjacency(graph.indices)
        assert getattr(found.homophily, name) == homophily(sp.csr_matrix(edges), y)
        np.testing.assert_array_equal(
            getattr(found.homophily, f"{name}_per_label"), homophily_per_label(sp.csr_matrix(edges), y, 3)
        )


def test_same_seed_same_bits_and_another_seed_another_result():
    x, y = counts()
    first, again, other = (run(tiny(), x, y, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.fit.p, again.fit.p)
    np.testing.assert_array_equal(first.attention.toarray(), again.attention.toarray())
    assert first.homophily.raw == again.homophily.raw
    assert not np.array_equal(first.fit.p, other.fit.p)


def test_input_and_global_generators_stay_as_they_were():
    x, y = counts()
    before, labels = x.copy(), y.copy()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is looked at)
    run(tiny(), x, y)
    np.testing.assert_array_equal(x.toarray(), before.toarray())
    np.testing.assert_array_equal(y, labels)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_genes_ranked_on_labelled_cells_only():
    x, y = counts()
    dense = x.toarray()
    dense[y < 0, 7] = np.where(np.arange((y < 0).sum()) % 2, 200, 0)  # varies most, among unlabelled cells
    dense[y >= 0, 7] = 0
    x = sp.csr_matrix(dense)
    z = reference.normalize(dense, 1e4)
    by_all, by_labelled = (run(tiny(n_top_genes=6, top_genes_from=kind), x, y).genes for kind in ("all", "labeled"))
    np.testing.assert_array_equal(by_all, reference.top_variance_genes(z, 6))
    np.testing.assert_array_equal(by_labelled, reference.top_variance_genes(z[y >= 0], 6))
    assert 7 in by_all
    assert 7 not in by_labelled


def test_scale_of_a_cell_does_not_matter_beyond_rounding():
    x, y = counts()
    scaled = sp.csr_matrix(x.multiply(2.0 ** (np.arange(40) % 5)[:, None]), dtype=np.float32)
    np.testing.assert_array_equal(run(tiny(), x, y).fit.p, run(tiny(), scaled, y).fit.p)


def test_more_genes_wanted_than_expressed():
    x, y = counts()
    found = run(tiny(n_top_genes=1000), x, y)
    np.testing.assert_array_equal(found.genes, np.setdiff1d(np.arange(20), 5))
    assert found.attention.shape == (19, 19)


@pytest.mark.parametrize("n_top_genes", [1, 2])
def test_very_few_genes(n_top_genes):
    x, y = counts()
    found = run(tiny(n_top_genes=n_top_genes), x, y)
    assert len(found.genes) == n_top_genes
    assert np.isfinite(found.fit.p).all()


def test_cells_that_express_none_of_the_chosen_genes():
    x, y = counts()
    dense = x.toarray()
    dense[[4, 30]] = 0
    dense[[4, 30], 5] = 7  # the one gene that no other cell expresses
    found = run(tiny(n_top_genes=4), sp.csr_matrix(dense), y)
    assert 5 not in found.genes
    assert not found.fit.h[[4, 30]].any()
    assert np.isfinite(found.fit.p).all()
    assert np.isfinite(found.attention.data).all()


def test_raw_neighbours_are_those_of_all_principal_components():
    x, _ = counts()
    found = raw_neighbors(x, 4, device=CPU, seed=0)
    centred = x.toarray() - x.toarray().mean(0)
    left, size, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = reference.distances(left[:, :19] * size[:19])
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :4], rtol=1e-3)


# --- s of the normalisation -----------------------------------------------------------------------------------------


def open_sum(**changes):
    return tiny(**{"target_sum": None, "unit_rows": True, **changes})


def squashed(n=600, m=30, seed=0):
    """Types differ in how strongly one gene is expressed beside genes that are only noise: a large s hides that."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    x = rng.poisson(np.full((n, m), 30.0))
    x[:, 10:] = rng.poisson(0.5, (n, m - 10)) * rng.integers(1, 3, (n, m - 10))
    x[:, 0] = rng.poisson(np.where(kind, 48, 30))
    y = np.where(np.arange(n) < n - 30, kind, -1).astype(np.int64)
    return sp.csr_matrix(x, dtype=np.float32), y


def machines(x, y, *, unit=True):
    """The linear machine for each s, by its own functions."""
    made = {s: normalize(x, s) for s in (1e4, 1e3)}
    return {s: fit_anchor(unit_rows(z) if unit else z, y, 3, seed=0) for s, z in made.items()}


def test_the_smaller_sum_is_taken_where_it_tells_labels_apart_better():
    x, y = squashed()
    alone = machines(x, y)
    assert alone[1e3].accuracy > alone[1e4].accuracy
    config, anchor = choose_target_sum(x, y, 3, open_sum(), seed=0)
    assert config == open_sum(target_sum=1e3)
    np.testing.assert_array_equal(anchor.decisions, alone[1e3].decisions)


@pytest.mark.parametrize(
    ("gained", "lost", "chosen"), [(5, 0, 1e3), (4, 0, 1e4), (9, 2, 1e3), (8, 3, 1e4), (0, 5, 1e4), (0, 0, 1e4)]
)
@pytest.mark.parametrize("unit", [True, False])
def test_ten_thousand_yields_only_to_two_standard_errors(monkeypatch, gained, lost, chosen, unit):
    x, y = counts()
    known, seen = np.flatnonzero(y >= 0), []

    def fitted(z, *given, **named):
        right = np.ones(len(known), dtype=bool)
        right[slice(gained) if not seen else slice(gained, gained + lost)] = False
        seen.append(z)
        decisions = np.zeros((len(y), 3), dtype=np.float32)
        decisions[known, np.where(right, y[known], (y[known] + 1) % 3)] = 1
        return dataclasses.replace(fit_anchor(z, *given, **named), decisions=decisions)

    monkeypatch.setattr(_annotate, "fit_anchor", fitted)
    config, anchor = choose_target_sum(x, y, 3, open_sum(unit_rows=unit), seed=0)
    assert config.target_sum == chosen
    for s, z in zip((1e4, 1e3), seen, strict=True):
        expected = normalize(x, s)
        np.testing.assert_array_equal(z.toarray(), (unit_rows(expected) if unit else expected).toarray())
    assert anchor.machine.weights.tolist() == machines(x, y, unit=unit)[chosen].machine.weights.tolist()


def test_only_labelled_cells_choose():
    x, y = squashed()
    dense = x.toarray()
    dense[y < 0] = np.random.default_rng(1).poisson(5, dense[y < 0].shape) + 1
    one, other = (choose_target_sum(sp.csr_matrix(z), y, 3, open_sum(), seed=0)[1] for z in (x.toarray(), dense))
    np.testing.assert_array_equal(one.decisions[y >= 0], other.decisions[y >= 0])


@pytest.mark.parametrize("target_sum", [1e6, 500.0])
def test_a_sum_that_is_given_is_used_as_it_is(monkeypatch, target_sum):
    x, y = counts()
    monkeypatch.setattr(_annotate, "fit_anchor", None)  # not called
    config = tiny(target_sum=target_sum)
    assert choose_target_sum(x, y, 3, config, seed=0) == (config, None)
    found = run(config, x, y)
    assert found.config == config
    np.testing.assert_array_equal(found.x.toarray(), normalize(x, target_sum)[:, found.genes].toarray())


def test_the_run_says_which_sum_was_used():
    x, y = squashed()
    found = run(open_sum(), x, y)
    assert found.config == open_sum(target_sum=1e3)
    given = run(open_sum(target_sum=1e3), x, y)
    np.testing.assert_array_equal(found.fit.p, given.fit.p)
    np.testing.assert_array_equal(found.x.toarray(), given.x.toarray())


@pytest.mark.parametrize("target_sum", [None, 1e4])
def test_the_machine_is_handed_on_and_not_fitted_twice(monkeypatch, target_sum):
    x, y = counts()
    widths = []

    def fitted(z, *given, **named):
        widths.append(z.shape[1])
        return fit_anchor(z, *given, **named)

    monkeypatch.setattr(_annotate, "fit_anchor", fitted)
    monkeypatch.setattr(_evidence, "fit_anchor", fitted)
    config = open_sum(target_sum=target_sum, anchor=True)
    found = run(config, x, y)
    # One a sum on the 20 genes, and then one on genes and mean components of neighbours.
    assert [width for width in widths if width == 20] == [20] * (2 if target_sum is None else 1)
    assert len(widths) == (3 if target_sum is None else 2)
    expected = run(dataclasses.replace(config, target_sum=found.config.target_sum), x, y)
    np.testing.assert_array_equal(found.evidence.gene_decisions, expected.evidence.gene_decisions)
    np.testing.assert_array_equal(found.fit.p, expected.fit.p)


def test_cross_fitted_only_where_asked():
    x, y = counts()
    assert run(tiny(), x, y).cross_fitted is None
    found = run(tiny(cross_fit_folds=2), x, y)
    np.testing.assert_array_equal(np.isfinite(found.cross_fitted).all(1), y >= 0)
    np.testing.assert_array_equal(found.fit.p, run(tiny(), x, y).fit.p)
