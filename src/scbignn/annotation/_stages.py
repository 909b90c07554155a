"""What EM trains, in which order, for how long and how fast (arXiv 2312.10310, Algorithm 1)."""

from __future__ import annotations

from typing import NamedTuple

from .._training import Schedule
from ._config import Config


class Stage(NamedTuple):
    """One training of one network."""

    round: int
    """0 is pre-training."""
    step: str
    """"pretrain" and "E" train q, "M" trains p."""
    schedule: Schedule


def stages(config: Config, n_train: int, n_unlabelled: int) -> list[Stage]:
    """The stages of a run in the order of Algorithm 1: pre-training, then M-steps and E-steps in turn.

    Parameters
    ----------
    config
        Epochs, fewest updates, rates, batch size, rounds.
    n_train, n_unlabelled
        Training and unlabelled cells. Where none is unlabelled, one M-step follows pre-training.
    """
    n_train, n_drawn = n_pooled(config, n_train), n_pooled(config, n_unlabelled)
    pretrain = _schedule(
        config,
        (config.gene_learning_rate, config.gene_weight_decay),
        config.pretrain_epochs,
        steps=round(n_train / config.batch_size),
        at_least=config.pretrain_updates,
    )
    e_step = _schedule(
        config,
        (config.e_step_learning_rate, config.gene_weight_decay),
        config.e_step_epochs,
        steps=round((n_train + n_drawn) / (2 * config.batch_size)),
        at_least=config.e_step_updates,
    )
    m_step = _schedule(config, (config.cell_learning_rate, config.cell_weight_decay), config.m_step_updates)
    n_rounds = config.n_rounds if n_unlabelled else 0
    found = [Stage(0, "pretrain", pretrain)]
    for round_ in range(1, n_rounds + 1):
        found += [Stage(round_, "M", m_step), Stage(round_, "E", e_step)]
    if config.final_m_step or n_rounds == 0:
        found.append(Stage(n_rounds + 1, "M", m_step))
    return found


def n_pooled(config: Config, n_cells: int) -> int:
    """Of so many cells, how many a step learns from."""
    return n_cells if config.pool_size is None else min(n_cells, config.pool_size)


def _schedule(
    config: Config, rate_and_decay: tuple[float, float], n_epochs: int, *, steps: int = 1, at_least: int = 0
) -> Schedule:
    steps = max(1, steps)
    n_epochs = max(n_epochs, -(-at_least // steps))
    return Schedule(
        n_epochs=n_epochs,
        steps_per_epoch=steps,
        learning_rate=rate_and_decay[0],
        weight_decay=rate_and_decay[1],
        decoupled=config.decoupled_weight_decay,
        patience=max(1, round(config.patience * n_epochs)),
    )
