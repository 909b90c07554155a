import numpy as np
import pytest
import torch
from scipy import special, stats

from scbignn.clustering import clustering_loss, soft_assignment, zinb_loss


def parameters(b=6, g=5, seed=0):
    rng = np.random.default_rng(seed)
    mean, theta = rng.uniform(0.05, 8, (b, g)), rng.uniform(0.1, 9, (b, g))
    counts = rng.negative_binomial(theta, theta / (theta + mean)) * (rng.random((b, g)) < 0.7)
    return counts.astype(float), mean, theta, rng.normal(size=(b, g))


def tensors(*arrays, dtype=torch.float64):
    return [torch.tensor(array, dtype=dtype) for array in arrays]


def reference(counts, mean, theta, logits):
    pi = special.expit(logits)
    nb = stats.nbinom.pmf(counts, theta, theta / (theta + mean))
    return -np.log(np.where(counts == 0, pi + (1 - pi) * nb, (1 - pi) * nb)).mean()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_zinb_equals_scipy(dtype, tolerance):
    given = parameters()
    assert zinb_loss(*tensors(*given, dtype=dtype)).item() == pytest.approx(reference(*given), rel=tolerance)


@pytest.mark.parametrize("counts", [np.zeros((2, 3)), np.full((2, 3), 4.0)])
def test_zinb_of_zeros_only_and_of_none(counts):
    _, mean, theta, logits = (array[:2, :3] for array in parameters())
    assert zinb_loss(*tensors(counts, mean, theta, logits)).item() == pytest.approx(
        reference(counts, mean, theta, logits)
    )


def test_gradients_of_zinb_are_right():
    counts, *rest = tensors(*parameters(3, 2))
    rest = [value.requires_grad_() for value in rest]
    assert torch.autograd.gradcheck(lambda *values: zinb_loss(counts, *values), rest)


def test_zinb_stays_finite_at_its_bounds():
    counts = torch.tensor([[0.0, 3.0, 0.0, 9000.0]])
    mean, theta = torch.tensor([[1e-5, 1e6, 1e6, 1e-5]]), torch.tensor([[1e-4, 1e4, 1e-4, 1e4]])
    logits = torch.tensor([[-80.0, 80.0, 80.0, -80.0]])
    values = [value.requires_grad_() for value in (mean, theta, logits)]
    loss = zinb_loss(counts, *values)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(value.grad).all() for value in values)


def test_soft_assignment_equals_its_formula():
    rng = np.random.default_rng(0)
    z, centers = rng.normal(size=(7, 3)), rng.normal(size=(4, 3))
    kernel = np.array([[1 / (1 + np.sum((cell - center) ** 2) / 2.5) for center in centers] for cell in z])
    expected = kernel / kernel.sum(1, keepdims=True)
    np.testing.assert_allclose(soft_assignment(*tensors(z, centers), 2.5), expected, rtol=1e-10)


def test_clustering_loss_is_the_divergence_from_the_sharper_target():
    q = np.random.default_rng(0).dirichlet(np.ones(4), size=9)
    p = q**2 / q.sum(0)
    p /= p.sum(1, keepdims=True)
    (given,) = tensors(q)
    assert clustering_loss(given).item() == pytest.approx(stats.entropy(p, q, axis=1).mean(), abs=1e-5)
    given.requires_grad_()
    clustering_loss(given).backward()
    np.testing.assert_allclose(given.grad, -p / (q + 1e-6) / 9, rtol=1e-6)  # the target is held fixed
