import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import softmax
from sklearn.svm import LinearSVC
from small import labelled

from scbignn.annotation import Believed, _anchor, _draws, _linear, believe, fit_anchor, label_believed


def test_unlabelled_cells_are_decided_by_a_machine_of_all_labelled_ones():
    x, y = labelled(60)
    found = fit_anchor(x, y, 3, seed=0)
    machine = LinearSVC(C=found.penalty, random_state=0).fit(x[y >= 0], y[y >= 0])
    np.testing.assert_allclose(found.decisions[y < 0], machine.decision_function(x[y < 0]), rtol=1e-5)
    assert found.decisions.dtype == np.float32


def test_labelled_cells_are_decided_by_machines_that_did_not_see_their_label():
    """Labels that say nothing: whoever has seen them knows them, and whoever has not is no better than chance."""
    rng = np.random.default_rng(0)
    x = sp.csr_matrix(rng.normal(size=(120, 300)))
    y = rng.integers(2, size=120)
    y[-1] = -1
    found = fit_anchor(x, y, 2, seed=0).decisions.argmax(1)
    seen = LinearSVC(random_state=0).fit(x[y >= 0], y[y >= 0]).predict(x[y >= 0])
    assert np.mean(seen == y[y >= 0]) == 1
    assert np.mean(found[y >= 0] == y[y >= 0]) < 0.7


def test_penalty_is_the_best_out_of_fold():
    x, y = labelled(90, hidden=0.2)
    assert fit_anchor(x, y, 3, penalties=(1e-9, 1.0), seed=0).penalty == 1.0


def test_two_labels_have_a_column_each():
    x, y = labelled(40, n_labels=2)
    found = fit_anchor(x, y, 2, seed=0).decisions
    np.testing.assert_array_equal(found[:, 0], -found[:, 1])


def test_a_label_that_no_cell_has_is_never_decided_for():
    x, y = labelled(60)
    found = fit_anchor(x, np.where(y == 2, -1, y), 3, seed=0).decisions
    np.testing.assert_array_equal(found[:, 2], -1)


def test_same_seed_same_folds():
    x, y = labelled(60)
    one, again, other = (fit_anchor(x, y, 3, seed=seed).decisions for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one[y >= 0] != other[y >= 0]).any()


def test_believed_labels_and_weights():
    rng = np.random.default_rng(0)
    decisions = rng.normal(size=(50, 3))
    y = np.where(rng.random(50) < 0.3, rng.integers(3, size=50), -1)
    found = believe(decisions, y, np.random.default_rng(0))
    known = y >= 0
    np.testing.assert_array_equal(found.labels, np.where(known, y, decisions.argmax(1)))
    # Within a label, cells that are not known count by the square of their probability.
    share = softmax(3 * decisions, axis=1).max(1) ** 2
    for label in range(3):
        cells = ~known & (found.labels == label)
        ratio = found.weights[cells] / share[cells]
        np.testing.assert_allclose(ratio, ratio[0])
    assert found.weights.sum() == pytest.approx(known.sum())
    assert found.weights[~known].sum() == pytest.approx(2 * found.weights[known].sum())


def test_labels_weigh_the_same_whatever_their_number():
    decisions = np.full((100, 2), -1.0)
    decisions[:90, 0] = decisions[90:, 1] = 1
    y = np.full(100, -1)
    y[[0, 99]] = 0, 1
    weights = believe(decisions, y, np.random.default_rng(0)).weights
    unknown = y < 0
    assert weights[1:90].sum() == pytest.approx(weights[90:99].sum(), rel=0.1)
    assert unknown.sum() == 98


def test_where_all_are_known_there_is_nothing_to_believe():
    y = np.array([0, 0, 1])
    found = believe(np.zeros((3, 2)), y, np.random.default_rng(0))
    np.testing.assert_array_equal(found.labels, y)
    np.testing.assert_allclose(found.weights, [0.75, 0.75, 1.5])


def test_believed_labels_are_trained_on():
    x, y = labelled(90, hidden=0.8)
    everyone = np.arange(90) % 3
    believed = Believed(everyone, np.ones(90))
    found = fit_anchor(x, y, 3, seed=0, believed=believed)
    machine = LinearSVC(C=3.0, tol=1e-2, random_state=0).fit(x, everyone)
    np.testing.assert_allclose(found.decisions[y < 0], machine.decision_function(x[y < 0]), rtol=1e-2, atol=1e-2)


def test_known_labels_are_not_replaced_by_believed_ones():
    x, y = labelled(60)
    weights = np.where(y >= 0, 1.0, 0.5)
    right, wrong = (Believed(np.where(y >= 0, known, 0), weights) for known in (y, (y + 1) % 3))
    np.testing.assert_array_equal(
        fit_anchor(x, y, 3, seed=0, believed=wrong).decisions, fit_anchor(x, y, 3, seed=0, believed=right).decisions
    )


def test_some_unlabelled_cells_take_the_label_that_they_are_believed_to_have():
    rng = np.random.default_rng(0)
    decisions, y = rng.normal(size=(300, 3)), np.where(rng.random(300) < 0.1, 2, -1)
    given = y.copy()
    found = label_believed(decisions, y, 20, rng)
    np.testing.assert_array_equal(y, given)
    np.testing.assert_array_equal(found[y >= 0], y[y >= 0])
    new = (y < 0) & (found >= 0)
    np.testing.assert_array_equal(found[new], decisions[new].argmax(1))
    assert np.bincount(found[new]).tolist() == [20, 20, 20]
    everyone = label_believed(decisions, y, 1000, rng)
    np.testing.assert_array_equal(everyone, np.where(y >= 0, y, decisions.argmax(1)))


def test_of_very_many_cells_a_random_part_is_believed(monkeypatch):
    monkeypatch.setattr(_anchor, "_MOST_BELIEVED", 20)
    y = np.full(60, -1)
    y[:3] = 0, 1, 2
    decisions = np.random.default_rng(0).normal(size=(60, 3))
    one, other = (believe(decisions, y, np.random.default_rng(seed)).weights for seed in (0, 1))
    assert np.sum(one[3:] > 0) == np.sum(other[3:] > 0) == 20
    assert (one[:3] > 0).all()
    assert ((one > 0) != (other > 0)).any()


def test_one_cell_of_each_label():
    x, y = labelled(30, hidden=1.0)
    assert np.sum(y >= 0) == 3
    found = fit_anchor(x, y, 3, seed=0)
    np.testing.assert_array_equal(found.decisions[y >= 0].argmax(1), y[y >= 0])
    assert found.penalty == 1.0


def test_one_cell_of_one_label_beside_others():
    x, y = labelled(60, hidden=0.0)
    y[(y == 2) & (np.arange(60) > 3)] = -1
    found = fit_anchor(x, y, 3, seed=0).decisions
    assert np.isfinite(found).all()
    assert found[y == 2].argmax(1).tolist() == [2]


def test_in_fold_on_request():
    x, y = labelled(60)
    found = fit_anchor(x, y, 3, seed=0, out_of_fold=False)
    machine = LinearSVC(C=found.penalty, random_state=0).fit(x[y >= 0], y[y >= 0])
    np.testing.assert_allclose(found.decisions, machine.decision_function(x), rtol=1e-5, atol=1e-6)


def test_where_every_cell_is_known_nothing_is_believed_and_labels_weigh_the_same():
    y = np.array([0, 0, 0, 1])
    believed = believe(np.zeros((4, 2)), y, np.random.default_rng(0))
    np.testing.assert_array_equal(believed.labels, y)
    np.testing.assert_allclose(believed.weights, [2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize("n_labels", [2, 3])
def test_machine_is_that_of_all_labelled_cells(n_labels):
    x, y = labelled(60, n_labels=n_labels)
    found = fit_anchor(x, y, n_labels, seed=0)
    assert found.machine.weights.shape == (n_labels, 12)
    assert found.machine.bias.shape == (n_labels,)
    assert found.machine.weights.dtype == found.machine.bias.dtype == np.float32
    np.testing.assert_array_equal(found.machine(x)[y < 0], found.decisions[y < 0])
    assert (found.machine(x)[y >= 0] != found.decisions[y >= 0]).any()
    in_fold = fit_anchor(x, y, n_labels, seed=0, out_of_fold=False)
    np.testing.assert_array_equal(in_fold.machine(x), in_fold.decisions)


def test_machine_decides_against_a_label_that_no_cell_has():
    x, y = labelled(60)
    machine = fit_anchor(x, np.where(y == 1, -1, y), 3, seed=0).machine
    assert not machine.weights[1].any()
    assert machine.bias[1] == -1


def test_accuracy_is_that_of_held_out_cells():
    x, y = labelled(90, hidden=0.2)
    x = x + sp.random(90, 12, 0.9, format="csr", random_state=0) * 4  # so that some are wrong
    found = fit_anchor(x, y, 3, seed=0)
    known = y >= 0
    assert found.accuracy == np.mean(found.decisions[known].argmax(1) == y[known])
    assert 0.3 < found.accuracy < 1


def test_a_labels_only_cell_has_no_part_in_the_accuracy():
    """Its decisions are in-fold."""
    rng = np.random.default_rng(0)
    x, y = sp.csr_matrix(rng.normal(size=(61, 300))), np.append(rng.integers(2, size=60), 2)
    found = fit_anchor(x, y, 3, seed=0)
    assert found.decisions[60].argmax() == 2
    assert found.accuracy == np.mean(found.decisions[:60].argmax(1) == y[:60])


def test_accuracy_is_nan_where_nothing_is_held_out():
    x, y = labelled(30, hidden=1.0)
    assert np.isnan(fit_anchor(x, y, 3, seed=0).accuracy)
    x, y = labelled(60)
    assert np.isnan(fit_anchor(x, y, 3, seed=0, out_of_fold=False).accuracy)


def test_where_very_many_are_labelled_a_part_sets_the_penalty_and_a_part_is_learned_from(monkeypatch):
    x, y = labelled(300, hidden=0.2)
    monkeypatch.setattr(_anchor, "TUNING_CELLS", 90)
    monkeypatch.setattr(_anchor, "MOST_TRAINED", 120)
    monkeypatch.setattr(_draws, "_KEPT_OF_LABEL", 5)
    seen, trained = [], _linear._OneByOne._trained
    monkeypatch.setattr(
        _linear._OneByOne, "_trained", lambda self, *of: seen.append((of[1], of[0].sum())) or trained(self, *of)
    )
    found = fit_anchor(x, y, 3, seed=0)
    drawn = _anchor.draw_labelled(y, 120, np.random.default_rng(0))
    assert len(seen) == 3 * 4 + 1 + 3 + 1  # on the part that sets the penalty, and then with it
    assert max(n for _, n in seen[:13]) <= 91
    assert seen[-1] == (found.penalty, len(drawn))
    expected = LinearSVC(C=found.penalty, random_state=0).fit(x[drawn], y[drawn])
    others = np.setdiff1d(np.arange(300), drawn)
    np.testing.assert_allclose(found.decisions[others], expected.decision_function(x[others]), rtol=1e-4, atol=1e-5)
    inside = expected.decision_function(x[drawn])
    assert (np.abs(found.decisions[drawn] - inside).max(1) > 1e-4).all()  # out of fold


@pytest.mark.parametrize("n_cells", range(40, 90, 7))
def test_a_part_that_is_drawn_is_not_drawn_from_again(monkeypatch, n_cells):
    x, y = labelled(120, hidden=0.0)
    y[:3] = 3, 4, 5  # labels of one cell
    monkeypatch.setattr(_anchor, "TUNING_CELLS", n_cells)
    monkeypatch.setattr(_draws, "_KEPT_OF_LABEL", 2)
    draws, draw = [], _anchor.draw_labelled
    monkeypatch.setattr(_anchor, "draw_labelled", lambda *of: draws.append(of[1]) or draw(*of))
    assert fit_anchor(x, y, 6, seed=0).penalty in _anchor.PENALTIES
    assert draws == [n_cells]
    assert len(draw(y, n_cells, np.random.default_rng(0))) <= n_cells + 2 * 6
