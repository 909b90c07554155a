import math

import numpy as np
import pytest
import reference
import torch
from small import generator
from torch import nn

from scbignn._checkpoints import Keeper
from scbignn._settings import settings
from scbignn._training import Schedule, choose_device, progress_bar, train


@pytest.fixture(autouse=True)
def quiet():
    with settings.override(progress=False, device="auto"):
        yield


def schedule(**changes):
    fields = {"n_epochs": 10, "steps_per_epoch": 1, "learning_rate": 0.1, "weight_decay": 0.0, "patience": 100}
    return Schedule(**{**fields, **changes})


# --- rate -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_epochs", "steps"), [(20, 5), (1, 1), (3, 3), (7, 13), (200, 1)])
def test_rate_rises_linearly_then_falls_as_a_half_cosine(n_epochs, steps):
    total = n_epochs * steps
    warm_up = max(1, total // 10)
    rates = [schedule(n_epochs=n_epochs, steps_per_epoch=steps, learning_rate=0.3).rate(i) for i in range(total)]
    rise = 0.3 * np.arange(1, warm_up + 1) / warm_up
    fall = 0.15 * (1 + np.cos(np.pi * np.arange(total - warm_up) / max(1, total - warm_up)))
    np.testing.assert_allclose(rates, np.concatenate([rise, fall]), rtol=1e-12)
    assert max(rates) == pytest.approx(0.3)
    assert min(rates) > 0


def test_rate_ends_at_zero():
    assert schedule(n_epochs=50).rate(50) == pytest.approx(0, abs=1e-15)


# --- the loop ---------------------------------------------------------------------------------------------------------


class Counter(nn.Module):
    """Its only weight is the number of epochs it has seen."""

    def __init__(self):
        super().__init__()
        self.seen = nn.Parameter(torch.zeros(()))


def count_epochs(scores, **changes):
    """Train a Counter whose validation gives the scores in turn; returns it and the history."""
    module, remaining = Counter(), iter(scores or [])

    def run_epoch(_step):
        assert module.training
        with torch.no_grad():
            module.seen += 1
        return 10 * module.seen.item()

    def validate():
        assert not module.training
        return next(remaining), module.seen.item() / 100

    epochs = train(
        module,
        run_epoch,
        validate if scores else None,
        schedule(**changes),
        progress=progress_bar(10),
        keeper=Keeper(None, {}, generator()),
    )
    assert not module.training
    return module.seen.item(), epochs


def selected(epochs):
    return [i for i, epoch in enumerate(epochs) if epoch.selected]


@pytest.mark.parametrize(
    ("scores", "patience", "n_run", "best"),
    [
        ([3, 2, 1, 4, 4, 0, 0], 2, 5, 2),
        ([3, 2, 1, 4, 4, 0, 0], 3, 7, 5),
        ([1, 2, 3, 4, 5, 6, 7], 1, 2, 0),
        ([7, 6, 5, 4, 3, 2, 1], 1, 7, 6),
        ([2, 1, 1, 1, 1, 1, 1], 3, 5, 1),  # the first of equals
        ([5, 6, 4, 6, 3, 6, 2], 2, 7, 6),
    ],
)
def test_early_stopping_returns_to_the_best_weights(scores, patience, n_run, best):
    seen, epochs = count_epochs(scores, n_epochs=7, patience=patience)
    assert len(epochs) == n_run
    assert selected(epochs) == [best]
    assert seen == best + 1
    assert [epoch.val_loss for epoch in epochs] == scores[:n_run]
    assert [epoch.loss for epoch in epochs] == [10.0 * (i + 1) for i in range(n_run)]
    assert [epoch.val_accuracy for epoch in epochs] == [(i + 1) / 100 for i in range(n_run)]


def test_without_validation_the_last_epoch_counts():
    seen, epochs = count_epochs(None, n_epochs=6, patience=1)
    assert seen == 6
    assert selected(epochs) == [5]
    assert all(math.isnan(epoch.val_loss) and math.isnan(epoch.val_accuracy) for epoch in epochs)


def test_a_diverged_epoch_is_not_the_best():
    seen, epochs = count_epochs([2.0, 1.0, math.nan, math.nan, 3.0], n_epochs=5)
    assert selected(epochs) == [1]
    assert seen == 2


def test_one_epoch_is_selected_also_where_every_loss_is_infinite():
    _, epochs = count_epochs([math.inf] * 3, n_epochs=3)
    assert len(selected(epochs)) == 1


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("decoupled", [False, True])
def test_steps_are_those_of_adam_at_the_scheduled_rate(weight_decay, steps, decoupled):
    rng = np.random.default_rng(0)
    a, start = rng.normal(size=(5, 4)), rng.normal(size=4)
    module = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    module.weight.data = torch.from_numpy(start[None].copy())
    plan = schedule(n_epochs=6, steps_per_epoch=steps, weight_decay=weight_decay, decoupled=decoupled)

    def run_epoch(step):
        for _ in range(steps):
            step(module(torch.from_numpy(a)).square().sum())
        return 0.0

    train(module, run_epoch, None, plan, progress=progress_bar(6), keeper=Keeper(None, {}, generator()))
    rates = [plan.rate(i) for i in range(6 * steps)]
    expected = reference.adam(start, lambda w: 2 * a.T @ (a @ w), rates, weight_decay=weight_decay, decoupled=decoupled)
    np.testing.assert_allclose(module.weight.detach()[0], expected, rtol=1e-6)


def test_gradients_do_not_add_up_over_steps():
    module, gradients = Counter(), []

    def run_epoch(step):
        step(2 * module.seen)
        gradients.append(module.seen.grad.item())
        return 0.0

    train(module, run_epoch, None, schedule(n_epochs=3), progress=progress_bar(3), keeper=Keeper(None, {}, generator()))
    assert gradients == [2, 2, 2]


@pytest.mark.parametrize("shown", [True, False])
def test_progress_follows_the_settings_and_leaves_out_what_was_not_run(shown, capsys):
    with settings.override(progress=shown):
        bar = progress_bar(10)
    assert bar.disable != shown
    scores = iter([1, 2, 3, 4])
    train(
        Counter(),
        lambda _step: 0.0,
        lambda: (next(scores), 0.0),
        schedule(n_epochs=10, patience=3),
        progress=bar,
        keeper=Keeper(None, {}, generator()),
    )
    bar.close()
    assert bar.total == 10 - 6
    assert not shown or bar.n == 4
    assert bool(capsys.readouterr().err) == shown


def test_a_bar_within_a_bar_is_silent_and_so_is_one_of_nothing(capsys):
    with settings.override(progress=True):
        with progress_bar(2, unit="fold", name="cross-fitting") as outer:
            with progress_bar(5, name="M-step") as inner:
                inner.update(5)
                assert inner.disable
            assert not outer.disable
            outer.update(2)
        with progress_bar(0, name="nothing") as nothing:
            assert nothing.disable
        with pytest.raises(ArithmeticError), progress_bar(3, name="broken"):
            raise ArithmeticError
        with progress_bar(3, name="later") as later:
            assert not later.disable
            later.update(3)
    err = capsys.readouterr().err
    assert "M-step" not in err
    assert "nothing" not in err
    assert "cross-fitting: 100%" in err
    assert "later: 100%" in err
    assert "fold/s" in err  # the rate
    assert "<00:00" in err  # the time that is left


# --- device -----------------------------------------------------------------------------------------------------------


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    for available, name in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert choose_device("auto") == torch.device(name)


def test_auto_asks_the_settings():
    with settings.override(device="cpu:0"):
        assert choose_device("auto") == torch.device("cpu:0")
        assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_named_device(device):
    assert choose_device(device) == torch.device(device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "nowhere:0", "meta"])
def test_device_that_cannot_be_used(device):
    with pytest.raises(ValueError, match=rf'^device={device!r} cannot be used \(.+\)\. Use device="auto" or "cpu"\.$'):
        choose_device(device)


def test_device_of_the_settings_that_cannot_be_used():
    with settings.override(device="gpu"), pytest.raises(ValueError, match="device='gpu' cannot be used"):
        choose_device("auto")


# --- resuming ---------------------------------------------------------------------------------------------------------


class Noisy:
    """A regression with dropout-like noise from a generator, to be interrupted and resumed."""

    def __init__(self, path, *, interrupted_after=None, validated=True):
        self.draws = generator(0)
        self.keeper = Keeper(path, {"run": 1}, self.draws, interval=0.0)
        self.module = nn.utils.skip_init(nn.Linear, 4, 2)
        for parameter in self.module.parameters():
            parameter.data.normal_(generator=generator(1))
        self.x, self.y = torch.randn(30, 4, generator=generator(2)), torch.randn(30, 2, generator=generator(3))
        self.n_run, self.interrupted_after, self.validated = 0, interrupted_after, validated

    def run_epoch(self, step):
        if self.n_run == self.interrupted_after:
            raise KeyboardInterrupt
        self.n_run += 1
        total = 0.0
        for _ in range(3):
            noise = torch.randn(self.x.shape, generator=self.draws)
            loss = (self.module(self.x[:20] + noise[:20]) - self.y[:20]).square().mean()
            step(loss)
            total += loss.item()
        return total / 3

    def validate(self):
        with torch.no_grad():
            return (self.module(self.x[20:]) - self.y[20:]).square().mean().item(), 0.0

    def train(self):
        plan = schedule(n_epochs=12, steps_per_epoch=3, weight_decay=0.01, patience=5)
        return train(
            self.module,
            self.run_epoch,
            self.validate if self.validated else None,
            plan,
            progress=progress_bar(12),
            keeper=self.keeper,
        )


@pytest.mark.parametrize("interrupted_after", [1, 4, 7])
@pytest.mark.parametrize("validated", [True, False])
def test_a_resumed_stage_ends_with_the_same_bits(tmp_path, interrupted_after, validated):
    whole = Noisy(None, validated=validated)
    expected = whole.train()
    first = Noisy(tmp_path / "run.safetensors", interrupted_after=interrupted_after, validated=validated)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = Noisy(tmp_path / "run.safetensors", validated=validated)
    np.testing.assert_equal([vars(e) for e in second.train()], [vars(e) for e in expected])
    assert second.n_run == whole.n_run - interrupted_after > 0
    for a, b in zip(whole.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.draws.get_state(), second.draws.get_state())


def test_a_stage_interrupted_after_its_last_epoch_runs_no_more(tmp_path):
    whole = Noisy(tmp_path / "run.safetensors")
    expected = whole.train()
    again = Noisy(tmp_path / "run.safetensors")
    assert [e.loss for e in again.train()] == [e.loss for e in expected]
    assert again.n_run == 0
    assert torch.equal(again.module.weight, whole.module.weight)
