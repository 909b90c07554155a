"""The training loop that every method shares: device, optimiser, early stopping, progress."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._checkpoints import Keeper
from ._ranks import ALONE, Ranks
from ._settings import settings


def choose_device(device: str | torch.device) -> torch.device:
    """The device that `"auto"` or a name stands for.

    Raises
    ------
    ValueError
        torch does not know the name, or has no such device here.
    """
    if device == "auto":
        device = settings.device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=torch.device(device)).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        msg = f'device={str(device)!r} cannot be used ({str(error).splitlines()[0]}). Use device="auto" or "cpu".'
        raise ValueError(msg) from error
    return torch.device(device)


@dataclass(frozen=True)
class Schedule:
    """How long one stage trains, and how fast."""

    n_epochs: int
    steps_per_epoch: int
    learning_rate: float
    weight_decay: float
    patience: int
    decoupled: bool = False
    """AdamW's weight decay (Loshchilov and Hutter 2019) instead of an L2 penalty in Adam's gradient."""

    def rate(self, step: int) -> float:
        """One cycle: a linear rise over the first tenth of all steps, then a half cosine down to zero."""
        total = self.n_epochs * self.steps_per_epoch
        warm_up = max(1, total // 10)
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


@dataclass
class Epoch:
    """One row of a training history."""

    loss: float
    val_loss: float = math.nan
    val_accuracy: float = math.nan
    selected: bool = False


#: Bars that were made and are still in use.
_bars: weakref.WeakSet[tqdm] = weakref.WeakSet()


def progress_bar(total: int, unit: str = "epoch", name: str | None = None, *, shown: bool = True) -> tqdm:
    """A bar over one phase, as `settings.progress` wants it; silent inside of another, which counts for both."""
    is_inner = any(not bar.disable for bar in _bars)  # a bar that was closed is disabled
    is_silent = is_inner or not shown or not total or not settings.shows_progress
    bar = tqdm(total=total, unit=unit, desc=name, disable=is_silent)
    _bars.add(bar)
    return bar


Step = Callable[[Tensor], None]


def train(
    module: nn.Module,
    run_epoch: Callable[[Step], float],
    validate: Callable[[], tuple[float, float]] | None,
    schedule: Schedule,
    *,
    progress: tqdm,
    keeper: Keeper,
    ranks: Ranks = ALONE,
) -> list[Epoch]:
    """Train with Adam or AdamW; with validation, stop early and return to the weights of the lowest validation loss.

    Parameters
    ----------
    module
        What is trained, in place.
    run_epoch
        Runs one epoch: hands each batch's loss to the `Step` it is given, and returns the epoch's mean loss.
    validate
        Gives loss and accuracy on cells that are kept out of training, or None where there are none.
    schedule
        Epochs, rate, patience.
    progress
        Moves on by one an epoch.
    keeper
        Offered the whole state after each epoch; what it holds of an interrupted run is where training goes on.
    ranks
        The processes that train this module, each with a copy that starts and stays the same.
    """
    method = torch.optim.AdamW if schedule.decoupled else torch.optim.Adam
    optimizer = method(module.parameters(), weight_decay=schedule.weight_decay, fused=True)
    epochs: list[Epoch] = []
    best = {name: value.clone() for name, value in module.state_dict().items()}
    interrupted = keeper.interrupted_stage()
    if interrupted:
        epochs = [Epoch(**row) for row in interrupted.rows]
        best = interrupted.part("best")
        module.load_state_dict(interrupted.part("module"))
        _load_adam(optimizer, interrupted.part("adam"))
        progress.update(len(epochs))
    n_steps = len(epochs) * schedule.steps_per_epoch

    def step(loss: Tensor) -> None:
        nonlocal n_steps
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(n_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ranks.average_gradients(module)
        optimizer.step()
        n_steps += 1

    while len(epochs) < schedule.n_epochs and _epochs_since_best(epochs) < schedule.patience:
        module.train()
        epoch = Epoch(run_epoch(step))
        module.eval()
        if validate:
            epoch.val_loss, epoch.val_accuracy = ranks.agree(*validate())
        if not validate or not epochs or epoch.val_loss < _lowest(epochs):  # without validation the last epoch counts
            best = {name: value.clone() for name, value in module.state_dict().items()}
            for earlier in epochs:
                earlier.selected = False
            epoch.selected = True
        epochs.append(epoch)
        progress.update()
        accuracy = {"val_accuracy": f"{epoch.val_accuracy:.3f}"} if validate else {}
        progress.set_postfix(loss=f"{epoch.loss:.3f}", **accuracy)
        keeper.offer(epochs, {"module": module.state_dict(), "best": best, "adam": _adam_state(optimizer)})

    module.load_state_dict(best)
    module.eval()
    progress.total -= schedule.n_epochs - len(epochs)
    progress.refresh()
    return epochs


def _lowest(epochs: list[Epoch]) -> float:
    return min((epoch.val_loss for epoch in epochs if not math.isnan(epoch.val_loss)), default=math.inf)


def _epochs_since_best(epochs: list[Epoch]) -> int:
    return next((age for age, epoch in enumerate(reversed(epochs)) if epoch.selected), 0)


def _adam_state(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def _load_adam(optimizer: torch.optim.Adam, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
