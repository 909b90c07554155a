import numpy as np
import pytest
import torch
from small import generator

from scbignn.clustering._quantiser import Quantiser, commitment_loss, relocated, similarity, updated_usage


def draws(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def test_cells_get_the_token_of_highest_cosine():
    e, quantiser = draws(9, 5), Quantiser(4, 5, generator(1))
    quantised, nearest = quantiser(e)
    tokens = quantiser.tokens.detach().double().numpy()
    x = e.double().numpy()
    cosine = (x @ tokens.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(tokens, axis=1)
    np.testing.assert_allclose(similarity(e, quantiser.tokens), cosine, atol=1e-5)
    assert nearest.tolist() == cosine.argmax(1).tolist()
    np.testing.assert_allclose(quantised.detach(), tokens[cosine.argmax(1)], atol=1e-6)


def test_usage_is_a_moving_average_of_frequencies():
    usage = torch.tensor([0.2, 0.3, 0.5])
    found = updated_usage(usage, torch.tensor([0, 0, 0, 2]))
    np.testing.assert_allclose(found, 0.9 * usage.numpy() + 0.1 * np.array([0.75, 0, 0.25]), rtol=1e-6)
    usage = torch.zeros(3)
    for _ in range(200):
        usage = updated_usage(usage, torch.tensor([0, 1, 1, 2]))
    np.testing.assert_allclose(usage, [0.25, 0.5, 0.25], atol=1e-6)


def test_idle_tokens_move_to_cells_and_used_ones_stay():
    tokens, e = draws(3, 4), draws(50, 4, seed=1)
    usage = torch.tensor([0.0, 0.4, 0.4])  # they do not sum to 1 yet: the rule for crowded tokens sleeps
    found = relocated(tokens, e, similarity(e, tokens), usage, generator(2))
    distance = torch.cdist(found, e).amin(1)
    assert distance[0] < 0.01  # b = exp(-0.001) of the way
    np.testing.assert_allclose(found[1:], tokens[1:], atol=1e-6)


def test_idle_tokens_prefer_cells_that_no_token_fits():
    tokens = torch.tensor([[1.0, 0.0]]).repeat(400, 1)
    e = torch.cat([torch.tensor([[1.0, 0.0]]).repeat(10, 1), torch.tensor([[-1.0, 0.0]]).repeat(10, 1)])
    close = similarity(e, torch.eye(2) * torch.tensor([1.0, 2.0]))  # two tokens, of which the first fits ten cells
    unlike = torch.softmax(1 - close, dim=1).amax(1)
    found = relocated(tokens, e, close.repeat(1, 200), torch.zeros(400), generator(0))
    share = float((found[:, 0] < 0).float().mean())
    assert unlike[10:].mean() > unlike[:10].mean() - 1e-6
    assert 0.4 < share < 0.8


def test_crowded_tokens_move_once_frequencies_have_settled():
    tokens, e = draws(2, 4), draws(5, 4, seed=1)
    close = similarity(e, tokens)
    usage = torch.tensor([1.0, 0.0])
    found = relocated(tokens, e, close, usage, generator(2))
    b = np.exp(-10 * 0.5 / 1.0 - 1e-3)
    middle = e[close[:, 0].argsort()[2]]
    np.testing.assert_allclose(found[0], (1 - b) * tokens[0] + b * middle, atol=1e-5)
    asleep = relocated(tokens, e, close, usage * 0.9, generator(2))
    np.testing.assert_allclose(asleep[0], tokens[0], atol=1e-6)


def test_refresh_works_in_place_and_without_gradient():
    quantiser, e = Quantiser(6, 4, generator(0)), draws(30, 4)
    quantiser.refresh(e, generator(1))
    assert quantiser.usage.sum() == pytest.approx(0.1)
    assert quantiser.tokens.requires_grad
    assert quantiser.tokens.grad is None


@pytest.mark.parametrize(("kind", "to_e", "to_c"), [("joint", 1.0, 1.0), ("vq", 0.25, 1.0)])
def test_commitment_and_its_gradients(kind, to_e, to_c):
    e, c = draws(7, 3).requires_grad_(), draws(7, 3, seed=1).requires_grad_()
    loss = commitment_loss(e, c, kind)
    square = ((e - c) ** 2).mean().item()
    assert loss.item() == pytest.approx(square * (1 if kind == "joint" else 1.25), rel=1e-5)
    loss.backward()
    slope = (2 * (e - c) / 21).detach()
    np.testing.assert_allclose(e.grad, to_e * slope, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(c.grad, -to_c * slope, rtol=1e-4, atol=1e-7)
