import numpy as np
import pytest
import reference
import torch
from small import generator, weights
from torch import nn

from scbignn._layers import Correction, Dropout, linear, mlp, standardize_inputs


@pytest.mark.parametrize("bias", [True, False])
def test_linear_draws_from_its_generator_only(bias):
    before = torch.get_rng_state()
    first, again, other = (linear(5, 3, generator(seed), bias=bias) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weight.shape == (3, 5)
    assert (first.bias is not None) == bias
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert all(torch.isfinite(p).all() and p.requires_grad for p in first.parameters())


def test_mlp_has_one_hidden_layer_of_relu_units():
    network = mlp(4, 6, 2, generator())
    x = torch.randn(3, 5, 4, generator=generator(1))
    expected = reference.mlp({f"mlp.{name}": w for name, w in weights(network).items()}, "mlp", x.double().numpy())
    np.testing.assert_allclose(network(x).detach(), expected, rtol=1e-5, atol=1e-6)
    assert network[0].out_features == 6


def test_standardized_layer_acts_on_standardized_inputs():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(40, [[1.0, 0.1, 7.0, 2.0]], (50, 4)))
    layer = nn.utils.skip_init(nn.Linear, 4, 3, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator())
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    standardize_inputs(layer, x.mean(0), x.std(0))
    torch.testing.assert_close(layer(x), (x - x.mean(0)) / x.std(0) @ w.T + b)


def test_inputs_that_do_not_vary_are_centred_but_not_scaled():
    layer = linear(2, 3, generator())
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    standardize_inputs(layer, torch.tensor([5.0, 0.0]), torch.zeros(2))
    torch.testing.assert_close(layer.weight.detach(), w)
    torch.testing.assert_close(layer(torch.tensor([[5.0, 0.0]]))[0], b)


@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_dropout_does_nothing_outside_training(probability):
    x = torch.randn(20, 5, generator=generator())
    assert torch.equal(Dropout(probability, generator()).eval()(x), x)


def test_dropout_of_nothing_does_nothing_and_draws_nothing():
    draws, x = generator(), torch.ones(3)
    before = draws.get_state()
    assert torch.equal(Dropout(0.0, draws).train()(x), x)
    assert torch.equal(draws.get_state(), before)


def test_dropout_drops_a_share_and_scales_the_rest():
    x = torch.full((200, 100), 3.0, requires_grad=True)
    out = Dropout(0.3, generator()).train()(x)
    kept = out != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.015)  # more than four standard deviations
    torch.testing.assert_close(out[kept], torch.full((int(kept.sum()),), 3 / 0.7))
    out.sum().backward()
    torch.testing.assert_close(x.grad, kept / 0.7)


def test_dropout_masks_come_from_the_generator_only():
    x = torch.ones(100)
    before = torch.get_rng_state()
    layer, again = Dropout(0.5, generator(3)).train(), Dropout(0.5, generator(3)).train()
    first = layer(x)
    assert torch.equal(first, again(x))
    assert not torch.equal(first, layer(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_correction_starts_as_the_scaled_decisions_and_is_free_to_leave_them():
    layer = Correction(4, 3, 2.5)
    x, decisions = torch.randn(6, 4, generator=generator()), torch.randn(6, 3, generator=generator(1))
    torch.testing.assert_close(layer(x, decisions), 2.5 * decisions)
    layer(x, decisions).square().sum().backward()
    assert all((parameter.grad != 0).all() for parameter in layer.parameters())
    with torch.no_grad():
        layer.linear.weight[:] = torch.arange(12.0).view(3, 4)
        layer.linear.bias[:] = torch.tensor([1.0, 2.0, 3.0])
    expected = 2.5 * decisions + x @ layer.linear.weight.T + layer.linear.bias
    torch.testing.assert_close(layer(x, decisions), expected)
