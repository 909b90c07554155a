"""Processes that train one network together, on one machine or on several."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ._shared_memory import SharedMemory, share_memory


@dataclass(frozen=True)
class Ranks:
    """Processes that run the same program on the same data; by default one, by itself.

    All draw the same random numbers and take the same steps. What costs most, they divide: each computes some rows of a
    batch (:meth:`deal` or :meth:`share`), all get the whole (:meth:`assemble`), everything that follows from it is done
    alike by each, and gradients are averaged (:meth:`average_gradients`). Loss and gradient are those of the whole batch,
    to rounding.
    """

    rank: int = 0
    """Of this process, counted from 0."""
    size: int = 1
    """How many there are."""
    device: torch.device = torch.device("cpu")
    """Where this one computes."""
    memory: SharedMemory | None = None
    """What all add up in, where they are of one machine; without, they send what is to be added."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def deal(self, n: int) -> np.ndarray:
        """Places of what this process does, where neighbours need not be done together; all do as much of every kind.

        From the place that costs least to the one that costs most they are dealt out to the processes, there and back.
        """
        turn = np.arange(n) % (2 * self.size)
        return np.flatnonzero(np.minimum(turn, 2 * self.size - 1 - turn) == self.rank)

    def share(self, costs: np.ndarray) -> np.ndarray:
        """Places of what this process does; every place is of one process, and all do as much.

        Of 2R runs that cost the same, process r of R does the r-th and the r-th from the end, so that all have short ones
        and long ones: these differ in what share of their time is spent before :meth:`assemble`, where all wait.

        Parameters
        ----------
        costs
            What each place costs, in an order in which neighbours are best done together, shape (n,).
        """
        middles = costs.cumsum() - costs / 2
        run = middles * 2 * self.size / max(costs.sum(), np.finfo(np.float64).tiny)
        run = np.minimum(run.astype(np.int64), 2 * self.size - 1)
        return np.flatnonzero(np.minimum(run, 2 * self.size - 1 - run) == self.rank)

    def assemble(self, part: Tensor, places: np.ndarray, n: int) -> Tensor:
        """All n rows, of which each process has computed those at its places: (m, d) -> (n, d), with gradient."""
        if self.size == 1:
            return part
        return _Assemble.apply(part, torch.from_numpy(places).to(part.device), n, self)

    def average_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its mean over processes; one that no process has stays None.

        :meth:`assemble` hands back `size` times the gradient. Of a parameter that came before it each process has a
        part, and the mean is their sum; of one that came after it all have the same, and the mean is that.
        """
        if self.size == 1:
            return
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has_one = parts[0].new_tensor([p.grad is not None for p in parameters])
        flat = torch.cat([*(part.reshape(-1) for part in parts), has_one])
        self.add_up(flat)
        flat /= self.size
        *parts, has_one = flat.split([*(part.numel() for part in parts), len(parts)])
        for parameter, part, exists in zip(parameters, parts, has_one.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if exists else None

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor, contiguous and without gradient, by its sum over processes."""
        if self.memory is None:
            dist.all_reduce(tensor)
        else:
            self.memory.add_up(tensor.numpy())

    def agree(self, *values: float) -> tuple[float, ...]:
        """The values that the first process has: where rounding differs, all take the same turn."""
        if self.size == 1:
            return values
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(told, 0)
        return tuple(told.tolist())

    def check_alike(self, **found: Any) -> None:
        """Each of these has the same `repr`, or the same bytes, in all processes. All wait here for one another.

        Raises
        ------
        ValueError
            One has not; in every process.
        """
        if self.size == 1:
            return
        digests = [hashlib.sha256(_bytes(value)).digest()[:8] for value in found.values()]
        own = torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], device=self.device)
        others = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(others, own)
        alike = (torch.stack(others) == own).all(0).tolist()
        if not all(alike):
            differing = ", ".join(name for name, same in zip(found, alike, strict=True) if not same)
            msg = (
                f"{self.size} processes are to train together, but do not agree on: {differing}. Let all run the same "
                "program on the same data with the same versions; or pass devices=1, num_nodes=1 to train in each by "
                "itself."
            )
            raise ValueError(msg)


#: One process, by itself.
ALONE = Ranks()


class _Assemble(torch.autograd.Function):
    """The sum over processes of each one's rows at their places, and zeros elsewhere."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, places: Tensor, n: int, ranks: Ranks) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = ranks.size
        whole = part.new_zeros(n, *part.shape[1:]).index_copy_(0, places, part)
        ranks.add_up(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        # All processes have the same loss of the whole, hence the same gradient of it: nothing is to be sent.
        (places,) = ctx.saved_tensors
        return gradient.index_select(0, places) * ctx.size, None, None, None


def join(device: torch.device, devices: int | None = None, num_nodes: int | None = None) -> Ranks:
    """The processes that this one was started with, by `torchrun` or `fabric run`, connected through Lightning Fabric.

    Parameters
    ----------
    device
        Where to compute: each process of a machine gets one such device of its own.
    devices, num_nodes
        Processes on each machine, and machines, which must be what the program was started with; None takes them as
        they are. Where both are 1 this process is by itself, however it was started.

    Raises
    ------
    ImportError
        Lightning Fabric is not installed.
    ValueError
        The program was not started with so many processes, or a device was named that all would share.
    """
    for name, count in (("devices", devices), ("num_nodes", num_nodes)):
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1):
            msg = f"{name}={count!r} must be an integer of at least 1, or None. Use for example {name}=2."
            raise ValueError(msg)
    n_devices, n_nodes = _started_with()
    if n_devices * n_nodes == 1 or (devices == 1 and num_nodes == 1):
        n_devices, n_nodes = 1, 1
    asked = devices or n_devices, num_nodes or n_nodes
    if asked != (n_devices, n_nodes):
        machines = "" if asked[1] == 1 else f" --nnodes {asked[1]} --node-rank NUMBER --master-addr ADDRESS"
        command = f"torchrun{machines} --nproc-per-node {asked[0]} script.py"
        msg = (
            f"devices={asked[0]}, num_nodes={asked[1]} need {asked[0] * asked[1]} processes, but this program runs as "
            f"{n_devices} on each of {n_nodes} machines. Put it into a script and start it with: {command}"
        )
        raise ValueError(msg)
    if asked == (1, 1):
        return Ranks(device=device)
    if device.index is not None:
        msg = f'device="{device}" would be shared by {n_devices} processes. Use device="{device.type}".'
        raise ValueError(msg)
    if not dist.is_initialized():
        return _launched(device.type, n_devices, n_nodes)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))
    return _in_group(device)


def is_first() -> bool:
    """Whether this process is the one that writes files: where several train together, one of them."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def _launched(kind: str, n_devices: int, n_nodes: int) -> Ranks:
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        msg = (
            "training in several processes needs Lightning Fabric. Install it with "
            'pip install "scbignn[distributed]", or pass devices=1, num_nodes=1 to train in each by itself.'
        )
        raise ImportError(msg) from error
    # What `fabric run` was told, Fabric reads from the environment, and wants it from nowhere else.
    told = {"LT_DEVICES": "devices", "LT_ACCELERATOR": "accelerator"}
    options = {"devices": n_devices, "accelerator": kind}
    options |= {name: "auto" for variable, name in told.items() if variable in os.environ}
    fabric = Fabric(strategy="ddp", num_nodes=n_nodes, **options)
    fabric.launch()
    if fabric.device.type != kind:
        msg = f'the program was started on {fabric.device.type}, but device="{kind}". Say the same in both places.'
        raise ValueError(msg)
    return _in_group(fabric.device)


def _in_group(device: torch.device) -> Ranks:
    """One process among those that are connected."""
    rank, size = dist.get_rank(), dist.get_world_size()
    return Ranks(rank, size, device, share_memory(rank, size) if device.type == "cpu" else None)


def _started_with() -> tuple[int, int]:
    """Processes on each machine, and machines."""
    if dist.is_available() and dist.is_initialized():
        size = dist.get_world_size()
    elif dist.is_available() and dist.is_torchelastic_launched():
        size = int(os.environ["WORLD_SIZE"])
    else:
        return 1, 1
    n_devices = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return n_devices, size // n_devices


def _bytes(value: Any) -> bytes:
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
