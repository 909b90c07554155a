import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU, cell_gnn, expression, generator, shaken, tiny, weights

from scbignn._expression import mean_and_variance
from scbignn.annotation._cell_gnn import CellGNN, Cells
from scbignn.graph import SparseProduct, neighbor_mean


def problem(seed=0, n=20):
    """Expression, embeddings, and a directed graph with an empty row."""
    rng = np.random.default_rng(seed)
    graph = (rng.random((n, n)) < 0.2).astype(float)
    graph[3] = 0
    return expression(n, seed=seed, empty=(6,)), rng.normal(size=(n, 8)), graph


def run(network, x, h, graph, dtype=torch.float64):
    mean = neighbor_mean(sp.csr_matrix(graph), "torch", CPU, dtype)
    return network(cells_of(x, dtype), torch.as_tensor(h, dtype=dtype), mean)


def cells_of(x, dtype=torch.float64):
    moments = (torch.as_tensor(part, dtype=dtype) for part in mean_and_variance(x))
    return Cells(SparseProduct(x, CPU, dtype), *moments)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_logits_equal_reference(n_layers):
    x, h, graph = problem()
    network = cell_gnn(tiny(n_cell_layers=n_layers)).double()
    expected = reference.cell_network(weights(network), x.toarray(), h, reference.mean_matrix(graph))
    found = run(network, x, h, graph)
    assert found.shape == (20, 3)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-10, atol=1e-12)


def test_single_precision():
    x, h, graph = problem()
    network = cell_gnn(tiny())
    expected = reference.cell_network(weights(network), x.toarray(), h, reference.mean_matrix(graph))
    np.testing.assert_allclose(run(network, x, h, graph, torch.float32).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shown", [False, True])
def test_features_labels_and_decisions_equal_reference(shown):
    """The input of components, batch norm, labels shown as input, and the correction of an anchor."""
    _, h, graph = problem()
    rng = np.random.default_rng(1)
    features, decisions, known = rng.normal(size=(20, 5)), rng.normal(size=(20, 3)), np.eye(3)[rng.integers(3, size=20)]
    config = tiny(cell_input="components", batch_norm=True, anchor=True, mask_labels=0.5 if shown else 0.0)
    network = CellGNN(config, 12, 3, n_features=5, init=generator(), noise=generator(1))
    network = shaken(network).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1, generator=generator(1))
            module.running_var.uniform_(0.5, 2, generator=generator(2))
    cells = cells_of(expression(20))._replace(
        features=torch.from_numpy(features), decisions=torch.from_numpy(decisions)
    )
    mean = neighbor_mean(sp.csr_matrix(graph), "torch", CPU, torch.float64)
    found = network(cells, torch.as_tensor(h), mean, torch.from_numpy(known) if shown else None)
    expected = reference.cell_network(
        weights(network),
        None,
        h,
        reference.mean_matrix(graph),
        features=features,
        shown=known if shown else None,
        decisions=decisions,
    )
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-10, atol=1e-12)


def test_a_new_anchored_network_says_what_the_anchor_says():
    x, h, graph = problem()
    decisions = torch.randn(20, 3, generator=generator())
    network = CellGNN(tiny(anchor=True), 12, 3, init=generator(), noise=generator(1)).eval()
    mean = neighbor_mean(sp.csr_matrix(graph), "torch", CPU)
    found = network(cells_of(x, torch.float32)._replace(decisions=decisions), torch.as_tensor(h).float(), mean)
    torch.testing.assert_close(found, 3 * decisions)


def test_gene_input_equals_eq_7():
    x, _, _ = problem()
    network = cell_gnn(tiny()).double()
    w = weights(network)
    inner = np.maximum(x.toarray() @ w["gene_input.inner.weight"].T + w["gene_input.inner.bias"], 0)
    expected = inner @ w["gene_input.outer.weight"].T + w["gene_input.outer.bias"]
    found = network.gene_input(SparseProduct(x, CPU, torch.float64)).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_gradient_equals_finite_differences_of_the_reference():
    x, h, graph = problem(n=9)
    network = cell_gnn(tiny(n_cell_layers=3)).double()
    rng = np.random.default_rng(0)
    upstream = rng.normal(size=(9, 3))
    (run(network, x, h, graph) * torch.from_numpy(upstream)).sum().backward()
    w = weights(network)
    direction = {name: rng.normal(size=value.shape) for name, value in w.items()}

    def value(size):
        moved = {name: w[name] + size * direction[name] for name in w}
        return np.sum(reference.cell_network(moved, x.toarray(), h, reference.mean_matrix(graph)) * upstream)

    along = sum(np.sum(p.grad.numpy() * direction[name]) for name, p in network.named_parameters())
    assert along == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-5)


def test_order_of_cells_does_not_matter():
    x, h, graph = problem()
    order = np.random.default_rng(0).permutation(20)
    network = cell_gnn(tiny()).double()
    torch.testing.assert_close(
        run(network, x[order], h[order], graph[np.ix_(order, order)]), run(network, x, h, graph)[order]
    )


def test_dropout_in_training_only():
    x, h, graph = problem()
    network = cell_gnn(tiny(dropout=0.5)).double()
    assert torch.equal(run(network, x, h, graph), run(network, x, h, graph))
    network.train()
    assert not torch.equal(run(network, x, h, graph), run(network, x, h, graph))


def test_new_network_draws_from_its_generator_only():
    before = torch.get_rng_state()
    same, again, other = (CellGNN(tiny(), 12, 3, init=generator(seed), noise=generator()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(same.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
    assert any(not torch.equal(a, c) for a, c in zip(same.parameters(), other.parameters(), strict=True))
