"""Layers whose randomness is an argument: nothing here reads or moves torch's global random state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def linear(d_in: int, d_out: int, generator: torch.Generator, *, bias: bool = True, gain: float = 1.0) -> nn.Linear:
    """A linear layer with Xavier-uniform weights, and biases uniform within 1 / sqrt(d_in)."""
    layer = nn.utils.skip_init(nn.Linear, d_in, d_out, bias=bias)
    nn.init.xavier_uniform_(layer.weight, gain=gain, generator=generator)
    if bias:
        nn.init.uniform_(layer.bias, -1 / math.sqrt(d_in), 1 / math.sqrt(d_in), generator=generator)
    return layer


def mlp(d_in: int, d_hidden: int, d_out: int, generator: torch.Generator) -> nn.Sequential:
    """One hidden layer of ReLU units: (..., d_in) -> (..., d_out)."""
    return nn.Sequential(linear(d_in, d_hidden, generator), nn.ReLU(), linear(d_hidden, d_out, generator))


@torch.no_grad()
def standardize_inputs(layer: nn.Linear, mean: Tensor, std: Tensor) -> None:
    """Change initial weights so that the layer acts as if its inputs had mean 0 and standard deviation 1.

    The layer computes W ((x - mean) / std) + b at first, and is free to leave that. Without it, inputs whose common
    part is large beside their differences (a mean over hundreds of genes, log counts) make learning crawl.

    Parameters
    ----------
    layer
        With bias; changed in place.
    mean, std
        Of the inputs, broadcastable to (d_in,). Inputs that hardly vary are centred but not scaled up.
    """
    std = torch.where(std > 1e-6 * (mean.abs() + 1), std, 1)
    layer.weight.div_(std)
    layer.bias.sub_(layer.weight @ mean.expand(layer.in_features))


class Dropout(nn.Module):
    """Inverted dropout with masks from a generator of its own."""

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self.probability, self.generator = probability, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        return x * draw_kept(x.shape, keep, self.generator).to(x.dtype).div_(keep)


def draw_kept(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Bool, True with the given probability within (0, 1) to within 2**-16, on the generator's device.

    Four draws are cut from each random number of 64 bits, since on a CPU the numbers are what costs.
    """
    n = math.prod(shape)
    words = torch.empty(-(-n // 4), dtype=torch.int64, device=generator.device).random_(
        -(2**63), None, generator=generator
    )
    n_kept = min(max(round(share * 2**16), 1), 2**16 - 1)
    return (words.view(torch.int16)[:n] < n_kept - 2**15).view(shape)


class Correction(nn.Module):
    """A linear layer that starts at zero, added to given decisions times a learned scale: (..., d), (..., C) -> (..., C)."""

    def __init__(self, d_in: int, d_out: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, d_in, d_out)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor, decisions: Tensor) -> Tensor:
        return self.scale * decisions + self.linear(x)
