import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from scbignn.annotation import audit_labels, audit_table, label_shapes


def planted(n=2000, n_labels=5, *, rate=0.05, spread=3.0, seed=0):
    """Probabilities that are right about the true labels, and given labels of which some are wrong."""
    rng = np.random.default_rng(seed)
    p = softmax(spread * rng.normal(size=(n, n_labels)), axis=1)
    true = (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=n_labels - 1)
    y = true.copy()
    wrong = rng.permutation(n)[: round(rate * n)]
    y[wrong] = (y[wrong] + rng.integers(1, n_labels, len(wrong))) % n_labels
    return p, y, true


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
def test_the_rate_of_wrong_labels_is_found(rate):
    p, y, _ = planted(6000, rate=rate)
    found = audit_labels(p, y)
    assert found.noise_rate == pytest.approx(rate, rel=0.3)
    assert found.wrong.sum() == pytest.approx(rate * 6000, rel=0.3)
    assert found.temperature == pytest.approx(1, rel=0.1)


def test_probabilities_are_bayes_rule_where_the_temperature_is_known():
    p, y, _ = planted(20_000)
    own = p[np.arange(len(y)), y]
    expected = 0.05 * (1 - own) / 4 / (0.95 * own + 0.05 * (1 - own) / 4)
    np.testing.assert_allclose(audit_labels(p, y).wrong, expected, atol=0.1)


def test_probabilities_say_how_often_labels_are_wrong():
    p, y, true = planted(20_000, rate=0.1)
    found = audit_labels(p.astype(np.float32), y).wrong
    assert found.dtype == np.float32
    for cells in np.array_split(np.argsort(found), 10):
        assert found[cells].mean() == pytest.approx(np.mean(y[cells] != true[cells]), abs=0.04)


def test_planted_errors_come_first():
    p, y, true = planted(spread=8.0)
    found = audit_labels(p, y)
    assert average_precision_score(y != true, found.wrong) > 0.75
    suspects = (y != true) & (found.wrong > 0.5)
    assert np.mean(found.suggested[suspects] == true[suspects]) > 0.9
    assert (found.suggested != y).all()


def test_a_cell_between_two_types_is_hardly_suspected():
    p, y, _ = planted(spread=8.0)
    p[0], y[0] = [0.45, 0.55, 0, 0, 0], 0
    assert audit_labels(p, y).wrong[0] < 0.1


def test_clean_labels_raise_little_suspicion():
    p, y, _ = planted(rate=0.0, spread=8.0)
    assert audit_labels(p, y).wrong.sum() < 0.01 * len(y)


def test_distances_help_where_probabilities_are_vague():
    rng = np.random.default_rng(0)
    true = np.arange(600) % 3
    x = 6 * np.eye(3)[true] + rng.normal(size=(600, 3))
    y = np.where(np.arange(600) < 30, (true + 1) % 3, true)
    p = softmax(rng.normal(size=(600, 3)) + 1.0 * np.eye(3)[true], axis=1)
    distances = label_shapes(x, y, 3).distances(x, y)
    alone, both = (average_precision_score(y != true, audit_labels(p, y, d).wrong) for d in (None, distances))
    assert both > alone + 0.2


def test_few_cells_and_infinite_distances():
    p, y, _ = planted(4, 3)
    found = audit_labels(p, y, np.full((4, 3), np.inf))
    assert np.isfinite(found.wrong).all()
    assert ((found.wrong >= 0) & (found.wrong <= 1)).all()


def test_table_by_label():
    p, y, _ = planted()
    found = audit_labels(p, y)
    table = audit_table(found, y, [*"abcde", "none"])
    assert table["label"].tolist() == [*"abcde", "none"]
    assert table["n_cells"].tolist() == [*np.bincount(y), 0]
    np.testing.assert_allclose(table["expected_wrong"][:5], np.bincount(y, found.wrong), rtol=1e-4)
    for code in range(5):
        suspicion = np.bincount(found.suggested[y == code], found.wrong[y == code], minlength=5)
        assert table["suggested_instead"][code] == "abcde"[suspicion.argmax()]
    assert table["suggested_instead"][5] == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p, y[:-1]), "p has shape"),
        (lambda p, y: (p[:0], y[:0]), "N >= 1"),
        (lambda p, y: (p[:, :1], y), "C >= 2"),
        (lambda p, y: (p, y - 1), "labelled cells only"),
        (lambda p, y: (p, y, p[:-1]), "distances have shape"),
    ],
)
def test_what_it_refuses(change, message):
    p, y, _ = planted(20)
    with pytest.raises(ValueError, match=message):
        audit_labels(*change(p, y))
