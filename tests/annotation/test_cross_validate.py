import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import accuracy_score, f1_score
from small import CPU, FAST, tiny
from tqdm.auto import tqdm

from scbignn.annotation import _cross_validate, annotate_cells, cross_validate, deal_folds, trust_of, validation_tables

LABELS, GENES = ["a", "b", "c"], [f"gene_{number}" for number in range(20)]


def problem(n_folds=3, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(45) % 3
    x = rng.poisson(np.where(np.arange(20) % 3 == kind[:, None], 4.0, 0.6))
    x[np.arange(45), kind] += 1
    y = np.where(rng.random(45) < 0.2, -1, kind).astype(np.int64)
    fold = np.full(45, -1)
    fold[y >= 0] = deal_folds(y[y >= 0], n_folds, np.random.default_rng(0))
    return sp.csr_matrix(x, dtype=np.float32), y, fold


def run(config, x, y, fold, **arguments):
    with tqdm(disable=True) as progress:
        return cross_validate(x, y, 3, config, fold, device=CPU, engine="torch", seed=0, progress=progress, **arguments)


@pytest.mark.parametrize("config", [FAST, tiny(n_top_genes=9)], ids=["default", "paper"])
def test_each_fold_is_what_a_run_without_its_labels_gives(config):
    x, y, fold = problem()
    found = run(config, x, y, fold)
    np.testing.assert_array_equal(np.sort(np.concatenate([part.cells for part in found])), np.flatnonzero(fold >= 0))
    for number, part in enumerate(found):
        np.testing.assert_array_equal(part.cells, np.flatnonzero(fold == number))
        alone = annotate_cells(x, np.where(fold == number, -1, y), 3, config, device=CPU, engine="torch", seed=0)
        trust, _ = trust_of(alone, of_its_own=True, seed=0)
        p = alone.fit.p if trust is None else trust.calibration.apply(alone.fit.p)
        np.testing.assert_array_equal(part.p, p[part.cells])
        np.testing.assert_array_equal(part.q, alone.fit.q[part.cells])
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(part.received)), alone.genes)
        np.testing.assert_array_equal(part.received[alone.genes], alone.importance.received)
        np.testing.assert_array_equal(part.attribution[alone.genes], alone.importance.attribution)
        np.testing.assert_array_equal(part.homophily, [alone.homophily.learned, alone.homophily.raw])
        np.testing.assert_array_equal(part.guesses[-1], alone.fit.p[part.cells].argmax(1))


def test_labels_of_a_fold_have_no_part_in_what_is_said_of_it():
    x, y, fold = problem()
    others = np.where(fold == 1, (y + 1) % 3, y)
    one, other = (run(FAST, x, labels, fold)[1] for labels in (y, others))
    for part, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(part, same)


def test_q_and_p_in_turn():
    x, y, fold = problem(2)
    found = run(tiny(n_top_genes=9, n_rounds=2, final_m_step=True), x, y, fold)
    for part in found:
        assert part.rounds.tolist() == [0, 1, 1, 2, 2, 3]
        assert part.guesses.shape == (6, len(part.cells))
    tables = validation_tables(found, y, LABELS, ["0", "1"], GENES)
    assert tables["rounds"]["network"].tolist() == ["q", "p"] * 6
    assert tables["rounds"]["fold"].tolist() == ["0"] * 6 + ["1"] * 6
    last = tables["rounds"].groupby("fold")["accuracy"].last()
    assert last.tolist() == tables["folds"]["accuracy"].tolist()


def test_tables_by_scikit_learn():
    x, y, fold = problem()
    found = run(FAST, x, y, fold)
    tables = validation_tables(found, y, LABELS, ["one", "two/b", "three"], GENES)
    for row, part in zip(tables["folds"].to_dict("records"), found, strict=True):
        truth, by_p, by_q = y[part.cells], part.p.argmax(1), part.q.argmax(1)
        assert row["n_cells"] == len(truth)
        assert row["accuracy"] == accuracy_score(truth, by_p)
        assert row["macro_f1"] == f1_score(truth, by_p, average="macro")
        assert row["accuracy_q"] == accuracy_score(truth, by_q)
        assert (row["homophily_learned"], row["homophily_raw"]) == tuple(part.homophily)
    given = np.full(45, -1)
    for part in found:
        given[part.cells] = part.p.argmax(1)
    seen = given >= 0
    f1 = f1_score(y[seen], given[seen], average=None)
    np.testing.assert_allclose(tables["per_label"]["f1"], f1)
    assert tables["per_label"].index.tolist() == LABELS
    assert tables["per_label"]["support"].tolist() == np.bincount(y[seen]).tolist()
    for name, scores in (("gene_importance", "received"), ("gene_attribution", "attribution")):
        table = tables[name]
        assert table.columns.tolist() == ["one", "two|b", "three"]
        for column, part in zip(table, found, strict=True):
            expected = getattr(part, scores)[[GENES.index(gene) for gene in table.index]]
            np.testing.assert_array_equal(table[column], expected)
        assert table.notna().any(axis=1).all()


def test_a_label_that_only_the_fold_has_is_never_given():
    x, y, fold = problem()
    fold = np.where(y == 2, 0, np.where(fold == 0, 1, fold))
    first, *others = run(FAST, x, y, fold)
    assert (first.p[:, 2] == 0).all()
    assert set(y[first.cells]) == {2}
    np.testing.assert_allclose(first.p.sum(1), 1, rtol=1e-5)
    assert all(part.p[:, 2].max() > 0 for part in others)


def test_too_little_is_left_to_learn_from():
    x, y, fold = problem()
    with pytest.raises(ValueError, match="only 1 label is left to learn from"):
        run(FAST, x, y, np.where(y == 2, 1, np.where(y >= 0, 0, -1)))


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, monkeypatch, at):
    x, y, fold = problem()
    whole, path, calls = run(FAST, x, y, fold), tmp_path / "run", []

    def interrupted(*arguments, **where):
        calls.append(where["checkpoint_dir"])
        if len(calls) == at + 1:
            raise Stop
        return annotate_cells(*arguments, **where)

    monkeypatch.setattr(_cross_validate, "annotate_cells", interrupted)
    with pytest.raises(Stop):
        run(FAST, x, y, fold, checkpoint_dir=path)
    calls[:] = [None] * 99
    found = run(FAST, x, y, fold, checkpoint_dir=path)
    assert len(calls) == 99 + 3 - at
    for part, other in zip(found, whole, strict=True):
        for one, same in zip(part, other, strict=True):
            np.testing.assert_array_equal(one, same)
    assert [file.name for file in path.iterdir()] == ["scbignn-folds.safetensors"]
    with pytest.raises(ValueError, match="differs from this one in fold"):
        run(FAST, x, y, np.roll(fold, 1), checkpoint_dir=path)
