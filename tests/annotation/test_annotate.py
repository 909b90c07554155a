import dataclasses

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU, tiny

from scbignn import _expression
from scbignn._expression import NormalizedRows
from scbignn._settings import settings
from scbignn.annotation import (
    _annotate,
    _draws,
    _evidence,
    _linear,
    _machines,
    annotate_cells,
    choose_target_sum,
    fit,
    fit_anchor,
    importance_of,
    normalize,
    raw_neighbors,
    top_variance_genes,
    trust_of,
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
    """The linear machine for each s, by its own functions, of the labelled cells."""
    made = {s: normalize(x[y >= 0], s) for s in (1e4, 1e3)}
    return {s: fit_anchor(unit_rows(z) if unit else z, y[y >= 0], 3, seed=0) for s, z in made.items()}


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
    known, seen, penalties = np.flatnonzero(y >= 0), [], []

    def fitted(z, *given, **named):
        right = np.ones(len(known), dtype=bool)
        right[slice(gained) if not seen else slice(gained, gained + lost)] = False
        seen.append(z)
        penalties.append(named.get("penalties"))
        decisions = np.zeros((len(known), 3), dtype=np.float32)
        decisions[np.arange(len(known)), np.where(right, y[known], (y[known] + 1) % 3)] = 1
        return dataclasses.replace(fit_anchor(z, *given, **named), decisions=decisions)

    monkeypatch.setattr(_annotate, "fit_anchor", fitted)
    config, anchor = choose_target_sum(x, y, 3, open_sum(unit_rows=unit), seed=0)
    assert config.target_sum == chosen
    # The second sum is looked at with one penalty, and with all of them where it is better.
    assert [one and len(one) for one in penalties] == [None, 1, None][: 2 + (chosen == 1e3)]
    for s, z in zip((1e4, 1e3, 1e3), seen, strict=False):
        expected = normalize(x[known], s)
        np.testing.assert_array_equal(z.toarray(), (unit_rows(expected) if unit else expected).toarray())
    assert anchor.machine.weights.tolist() == machines(x, y, unit=unit)[chosen].machine.weights.tolist()


@pytest.mark.parametrize(("few_labels", "times"), [(0, 2), (10**6, 3)])
def test_inner_products_of_labelled_cells_are_found_once_a_sum(monkeypatch, few_labels, times):
    """Those of the sum that is chosen serve the machine on neighbourhoods, too; refits learn from all cells."""
    x, y = squashed()
    asked, found = [], _machines.inner_products
    monkeypatch.setattr(_linear, "_PRODUCTS_OF_VALUE", 10**6)
    monkeypatch.setattr(_machines, "inner_products", lambda part: asked.append(part.shape[0]) or found(part))
    run(open_sum(anchor=True, few_labels=few_labels, anchor_refits=1), x, y)
    assert asked == [np.sum(y >= 0)] * 2 + [x.shape[0]] * (times - 2)


def test_only_labelled_cells_choose():
    x, y = squashed()
    dense = x.toarray()
    dense[y < 0] = np.random.default_rng(1).poisson(5, dense[y < 0].shape) + 1
    one, other = (choose_target_sum(sp.csr_matrix(z), y, 3, open_sum(), seed=0)[1] for z in (x.toarray(), dense))
    np.testing.assert_array_equal(one.decisions, other.decisions)
    assert len(one.decisions) == np.sum(y >= 0)


def test_a_part_of_very_many_labelled_cells_chooses(monkeypatch):
    x, y = squashed()
    monkeypatch.setattr(_annotate, "TUNING_CELLS", np.sum(y >= 0) - 40)
    monkeypatch.setattr(_draws, "_KEPT_OF_LABEL", 5)
    config, anchor = choose_target_sum(x, y, 3, open_sum(), seed=0)
    assert config == open_sum(target_sum=1e3)
    assert abs(len(anchor.decisions) - (np.sum(y >= 0) - 40)) <= 3
    found = run(open_sum(anchor=True), x, y)
    assert found.config.target_sum == 1e3
    np.testing.assert_array_equal(np.isfinite(found.evidence.gene_decisions), True)


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
        widths.append("beside" in named)
        return fit_anchor(z, *given, **named)

    monkeypatch.setattr(_annotate, "fit_anchor", fitted)
    monkeypatch.setattr(_evidence, "fit_anchor", fitted)
    config = open_sum(target_sum=target_sum, anchor=True)
    found = run(config, x, y)
    # One on the genes, a look at the other sum, and one on genes and mean components of neighbours.
    assert widths == [False] * (2 if target_sum is None else 1) + [True]
    expected = run(dataclasses.replace(config, target_sum=found.config.target_sum), x, y)
    np.testing.assert_array_equal(found.evidence.gene_decisions, expected.evidence.gene_decisions)
    np.testing.assert_array_equal(found.fit.p, expected.fit.p)


class ReadAnew:
    """A matrix that hands out a few rows at a time, and remembers how many at most."""

    def __init__(self, x):
        self.x, self.shape, self.most = x, x.shape, 0

    def __getitem__(self, rows):
        part = self.x[rows].copy()
        self.most = max(self.most, part.shape[0])
        return part


@pytest.mark.parametrize("panel", ["labels", "variance"])
@pytest.mark.parametrize("labels", ["all of some", "few"])
def test_rows_that_are_read_when_needed_give_the_same(monkeypatch, panel, labels):
    monkeypatch.setattr(_expression, "CHUNK_ROWS", 7)
    x, y = counts(n=70)
    config = open_sum(anchor=True, gene_panel=panel, n_top_genes=9, cross_fit_folds=2, unit_rows=True)
    if labels == "few":
        config = dataclasses.replace(config, few_labels=50, anchor_refits=1)
    rows = ReadAnew(x)
    found, expected = run(config, rows, y), run(config, x, y)
    assert isinstance(found.expression, NormalizedRows)
    np.testing.assert_array_equal(found.genes, expected.genes)
    np.testing.assert_allclose(found.gene_share, expected.gene_share, rtol=1e-10)
    np.testing.assert_allclose(found.gene_mean, expected.gene_mean, rtol=1e-5)
    np.testing.assert_allclose(found.x.toarray(), expected.x.toarray(), rtol=1e-6)
    np.testing.assert_allclose(found.evidence.cell_decisions, expected.evidence.cell_decisions, atol=1e-4)
    np.testing.assert_allclose(found.fit.p, expected.fit.p, atol=1e-3)
    np.testing.assert_allclose(found.cross_fitted, expected.cross_fitted, atol=1e-3)
    for of_its_own in (True, False):
        one, other = (trust_of(run_, of_its_own=of_its_own, seed=0)[1] for run_ in (found, expected))
        np.testing.assert_allclose(one, other, rtol=1e-2)


def test_components_of_very_many_cells_are_those_of_a_part(monkeypatch):
    monkeypatch.setattr(_expression, "CHUNK_ROWS", 7)
    x, y = counts(n=200)
    monkeypatch.setattr(_evidence, "DECOMPOSED_CELLS", 150)
    rows = ReadAnew(x)
    found = run(open_sum(anchor=True, target_sum=1e4, n_components=3), rows, y)
    assert rows.most == 150
    whole = _evidence.principal(found.expression, 2, 0)[0]
    monkeypatch.setattr(_evidence, "DECOMPOSED_CELLS", 200)
    exact = _evidence.principal(found.expression, 2, 0)[0]
    agreement = np.abs(np.corrcoef(whole.T, exact.T)[:2, 2:].diagonal())
    assert agreement.min() > 0.98


def test_cross_fitted_only_where_asked():
    x, y = counts()
    assert run(tiny(), x, y).cross_fitted is None
    found = run(tiny(cross_fit_folds=2), x, y)
    np.testing.assert_array_equal(np.isfinite(found.cross_fitted).all(1), y >= 0)
    np.testing.assert_array_equal(found.fit.p, run(tiny(), x, y).fit.p)
