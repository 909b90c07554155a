import weakref

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from small import generator

from scbignn.regulation import Config, encode_genes
from scbignn.regulation._pooling import CellStates, LearnedPooling, draw_encoded, pool_cells

CPU = torch.device("cpu")


def states(n_cells=9, n_genes=4, d=3):
    g = generator()
    vectors = torch.randn(n_cells, n_genes, d, generator=g, dtype=torch.float64)
    return vectors, torch.rand(n_cells, n_genes, generator=g, dtype=torch.float64)


def pooled(vectors, attention, **settings):
    return pool_cells((CellStates(h, a) for h, a in zip(vectors, attention, strict=True)), Config(**settings))


@pytest.mark.parametrize("k", [1, 3, 9, 20])
def test_attentive_pooling_is_a_softmax_over_the_first_cells(k):
    vectors, attention = states()
    found = pooled(vectors, attention, n_representative=k, temperature=0.2)
    for gene in range(4):
        first = np.argsort(-attention[:, gene].numpy())[:k]
        weight = softmax(attention[first, gene].numpy() / 0.2)
        np.testing.assert_allclose(found[gene], weight @ vectors[first, gene].numpy(), rtol=1e-12)


def test_the_order_of_cells_does_not_matter():
    vectors, attention = states()
    order = torch.randperm(9, generator=generator(1))
    for pooling in ("attention", "mean"):
        found = pooled(vectors, attention, pooling=pooling, n_representative=4)
        again = pooled(vectors[order], attention[order], pooling=pooling, n_representative=4)
        np.testing.assert_allclose(again, found, rtol=1e-12)


@pytest.mark.parametrize("k", [3, 20])
def test_learned_pooling_gets_the_first_cells(k):
    vectors, attention = states()
    found = pooled(vectors, attention, pooling="learned", n_representative=k)
    assert found.shape == (4, min(k, 9), 3)
    for gene in range(4):
        first = np.argsort(-attention[:, gene].numpy())[:k]
        np.testing.assert_array_equal(np.sort(found[gene], axis=0), np.sort(vectors[first, gene].numpy(), axis=0))


def test_learned_pooling_starts_as_the_mean_and_is_a_softmax():
    pooling, cells = LearnedPooling(3, generator()), torch.randn(4, 5, 3, generator=generator(1))
    torch.testing.assert_close(pooling(cells), cells.mean(1))
    with torch.no_grad():
        pooling.score.weight.normal_(generator=generator(2))
        w = {name: value.numpy() for name, value in pooling.state_dict().items()}
        score = np.tanh(cells.numpy() @ w["hidden.weight"].T + w["hidden.bias"]) @ w["score.weight"].T
        np.testing.assert_allclose(pooling(cells), (softmax(score, axis=1) * cells.numpy()).sum(1), rtol=1e-5)


def test_the_mean_is_the_mean():
    vectors, attention = states()
    np.testing.assert_allclose(pooled(vectors, attention, pooling="mean"), vectors.mean(0), rtol=1e-12)


class Echo:
    """Vectors are values, attention is 1."""

    def places(self, names):
        return np.array([-1 if name == "unknown" else 0 for name in names])

    def states(self, x, places, device, *, received):
        self.seen, self.received = x, received
        for row in x.toarray():
            yield CellStates(torch.tensor(row[places >= 0, None]), torch.ones((places >= 0).sum()))


def test_genes_it_does_not_know_get_nothing():
    x = sp.csr_matrix(np.arange(30.0).reshape(10, 3))
    model = Echo()
    found = encode_genes(model, x, ["a", "unknown", "b"], Config(pooling="mean"), device=CPU)
    assert found.shape == (3, 1)
    assert np.isnan(found[1]).all()
    assert not model.received
    np.testing.assert_allclose(found[[0, 2], 0], model.seen.toarray().mean(0)[[0, 2]])


def test_cells_are_drawn_where_they_are_too_many():
    x, rng = sp.csr_matrix(np.arange(30.0).reshape(10, 3)), np.random.default_rng(0)
    few = draw_encoded(x, Config(n_encoded_cells=4), rng).toarray()
    assert few.shape == (4, 3)
    assert set(map(tuple, few)) < set(map(tuple, x.toarray()))
    assert draw_encoded(x, Config(n_encoded_cells=10), rng) is x


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_cells_pass_by_one_at_a_time(pooling):
    alive, most = weakref.WeakSet(), 0

    def passing():
        nonlocal most
        for number in range(50):
            h = torch.randn(4, 3, generator=generator(number))
            alive.add(h)
            most = max(most, len(alive))
            yield CellStates(h, torch.rand(4, generator=generator(number)))

    pool_cells(passing(), Config(pooling=pooling, n_representative=2))
    assert most <= 3
