import pytest
from small import tiny

from scbignn.annotation._stages import n_pooled, stages


def test_stages_are_in_the_order_of_the_algorithm_each_with_its_schedule():
    changes = {"pretrain_epochs": 2, "pretrain_updates": 31, "e_step_epochs": 9, "e_step_updates": 7, "patience": 0.3}
    rates = {"gene_learning_rate": 1.0, "e_step_learning_rate": 2.0, "cell_learning_rate": 3.0}
    decays = {"gene_weight_decay": 0.25, "cell_weight_decay": 0.5, "decoupled_weight_decay": True}
    found = stages(tiny(n_rounds=2, batch_size=4, m_step_updates=2, **changes, **rates, **decays), 12, 24)
    assert [stage[:2] for stage in found] == [(0, "pretrain"), (1, "M"), (1, "E"), (2, "M"), (2, "E"), (3, "M")]
    pretrain, m_step, e_step = (stage.schedule for stage in found[:3])
    assert (pretrain.steps_per_epoch, pretrain.n_epochs, pretrain.learning_rate) == (3, 11, 1.0)  # 33 updates
    assert (m_step.steps_per_epoch, m_step.n_epochs, m_step.learning_rate) == (1, 2, 3.0)
    assert (e_step.steps_per_epoch, e_step.n_epochs, e_step.learning_rate) == (4, 9, 2.0)
    assert [s.patience for s in (pretrain, m_step, e_step)] == [3, 1, 3]
    assert [s.weight_decay for s in (pretrain, m_step, e_step)] == [0.25, 0.5, 0.25]
    assert all(stage.schedule.decoupled for stage in found)


@pytest.mark.parametrize(("final", "n_unlabelled", "steps"), [(False, 5, "pME"), (True, 5, "pMEM"), (False, 0, "pM")])
def test_there_is_an_m_step_whatever_the_config(final, n_unlabelled, steps):
    found = stages(tiny(n_rounds=1, final_m_step=final), 9, n_unlabelled)
    assert "".join(stage.step[0] for stage in found) == steps
    assert found[-1].round == (2 if final else 1)


def test_no_step_learns_from_more_cells_than_the_pool_holds():
    config = tiny(pool_size=8, batch_size=4, n_rounds=1)
    pretrain, _, e_step, *_ = stages(config, 1000, 1000)
    assert (pretrain.schedule.steps_per_epoch, e_step.schedule.steps_per_epoch) == (2, 2)
    assert [n_pooled(config, n) for n in (7, 8, 9)] == [7, 8, 8]
    assert n_pooled(tiny(pool_size=None), 10**9) == 10**9
