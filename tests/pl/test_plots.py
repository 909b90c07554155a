import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pictures import drawn, overlapping, run_of

from scbignn import get, pl

OF_CALIBRATION = ["reliability", "risk_coverage"]
NAMES = ["gene_importance", "history", "homophily", *OF_CALIBRATION]


def run_with(labels: list[str]) -> AnnData:
    """What plots read of a run with these labels."""
    share = np.linspace(0.5, 1, len(labels))
    adata = AnnData(np.ones((3, 2), dtype=np.float32))
    adata.uns["scbignn"] = {
        "gene_importance": pd.DataFrame({"score": np.linspace(2, 1, len(labels))}, index=labels),
        "homophily": {
            "learned": 0.9,
            "raw": 0.6,
            "per_label": pd.DataFrame({"learned": share, "raw": share / 2}, index=labels),
        },
    }
    return adata


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_given_axes_only(calibrated, name):
    figure, (left, right) = plt.subplots(ncols=2)
    assert getattr(pl, name)(calibrated, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert right.has_data()
    assert not left.has_data()


@pytest.mark.parametrize("name", NAMES)
def test_makes_one_figure_without_axes(calibrated, name):
    ax = getattr(pl, name)(calibrated)
    assert isinstance(ax, plt.Axes)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_data_are_left_alone(calibrated, contents, name):
    before = contents(calibrated)
    getattr(pl, name)(calibrated)
    assert contents(calibrated) == before


@pytest.mark.parametrize("name", NAMES)
def test_without_a_run(adata, name):
    with pytest.raises(KeyError, match=r"scbignn\.tl\.annotate"):
        getattr(pl, name)(adata)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", NAMES)
def test_key_of_the_run(calibrated, name):
    calibrated.uns["mine"] = calibrated.uns.pop("scbignn")
    assert getattr(pl, name)(calibrated, key="mine").has_data()


@pytest.mark.parametrize("n_labels", [2, 14, 40])
def test_homophily_names_every_label(n_labels):
    labels = [f"type {number}" for number in range(n_labels)]
    ax = pl.homophily(run_with(labels))
    ax.figure.canvas.draw()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["all", *labels]
    learned, raw = (container.datavalues for container in ax.containers)
    np.testing.assert_allclose(learned, [0.9, *np.linspace(0.5, 1, n_labels)])
    np.testing.assert_allclose(raw, [0.6, *np.linspace(0.25, 0.5, n_labels)])
    tops = [tick.get_window_extent() for tick in ax.get_yticklabels()]
    assert not any(upper.overlaps(lower) for upper, lower in zip(tops[1:], tops[2:], strict=False))


@pytest.mark.parametrize(
    ("name", "kept"),
    [("gene_importance", "central memory CD8-…eta T cell"), ("homophily", "central memory …a T cell")],
)
def test_long_names_keep_both_ends(name, kept):
    label = "central memory CD8-positive, alpha-beta T cell"
    ax = getattr(pl, name)(run_with([label, "B"]))
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert ticks[-2] == kept
    assert len(kept) == {"gene_importance": 30, "homophily": 24}[name]
    assert ticks[-1] == "B"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label", ["CD4+/CD25 T Reg", "γδ T", "$\\alpha$-cell_1", "100%"])
def test_odd_names_are_drawn(label):
    ax = pl.homophily(run_with([label, "B"]))
    ax.figure.canvas.draw()
    assert label in [tick.get_text() for tick in ax.get_yticklabels()]


def test_gene_importance_bars(annotated):
    ax = pl.gene_importance(annotated, n_genes=8)
    table = get.gene_importance(annotated, n_genes=8)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == table["gene"].tolist()
    assert ax.containers[0].datavalues.tolist() == table["score"].tolist()
    low, high = ax.get_ylim()
    assert low > high  # the first gene is at the top


def test_history_shows_the_kept_epoch_of_each_step(annotated):
    ax = pl.history(annotated)
    kept = get.history(annotated).query("selected")
    assert ax.get_ylabel() == "validation accuracy"
    for line, network in zip(ax.lines, "qp", strict=True):
        rows = kept[kept["network"] == network]
        np.testing.assert_array_equal(line.get_xydata(), rows[["round", "val_accuracy"]])


def test_history_without_validation_cells_shows_the_loss(annotated):
    table = annotated.uns["scbignn"]["history"]
    table[["val_loss", "val_accuracy"]] = np.nan
    ax = pl.history(annotated)
    assert ax.get_ylabel() == "training loss"
    for line, network in zip(ax.lines, "qp", strict=True):
        rows = get.history(annotated)
        losses = rows[rows["network"] == network]["loss"].tolist()
        assert line.get_ydata().tolist() == losses
        assert line.get_xdata().tolist() == list(range(1, len(losses) + 1))


@pytest.mark.parametrize("name", OF_CALIBRATION)
def test_a_run_without_calibration(calibrated, name):
    calibrated.uns["scbignn"].pop("calibration")
    with pytest.raises(KeyError, match=r"holds no calibration.*scbignn\.tl\.annotate"):
        getattr(pl, name)(calibrated)
    assert plt.get_fignums() == []


def test_reliability_shows_both_stages_and_their_error(calibrated):
    ax = pl.reliability(calibrated)
    table = get.calibration(calibrated)
    diagonal, *lines = ax.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    for line, stage in zip(lines, ("before", "after"), strict=True):
        rows = table[table["stage"] == stage]
        np.testing.assert_array_equal(line.get_xydata(), rows[["confidence", "accuracy"]])
        assert line.get_label() == f"{stage}, ECE {table.attrs['ece'][stage]:.3f}"
    # Every point is inside.
    assert ax.get_xlim() == ax.get_ylim()
    low, high = ax.get_xlim()
    assert table[["confidence", "accuracy"]].ge(low).all(axis=None)
    assert table[["confidence", "accuracy"]].le(high).all(axis=None)


def test_risk_coverage_shows_the_curve(calibrated):
    ax = pl.risk_coverage(calibrated)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), get.risk_coverage(calibrated))
    assert ax.get_ylim()[1] > get.risk_coverage(calibrated)["risk"].max()


def test_risk_coverage_without_errors(calibrated):
    calibrated.uns["scbignn"]["calibration"]["risk_coverage"]["risk"] = 0.0
    assert pl.risk_coverage(calibrated).get_ylim() == (0, 0.01)


def test_homophily_of_several_data_sets_side_by_side():
    first, second = run_with(["T", "B"]), run_with(["alpha", "beta", "gamma"])
    second.uns["scbignn"]["homophily"]["learned"] = 0.7
    ax = pl.homophily({"blood": first, "pancreas": get.homophily(second)})
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["blood", "pancreas"]
    learned, raw = (container.datavalues for container in ax.containers)
    np.testing.assert_allclose(learned, [0.9, 0.7])
    np.testing.assert_allclose(raw, [0.6, 0.6])

    ax = pl.homophily({"blood": first, "pancreas": second}, per_label=True)
    ticks = ax.get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["blood", "T", "B", "pancreas", "alpha", "beta", "gamma"]
    assert [tick.get_text() for tick in ticks if tick.get_fontweight() == "bold"] == ["blood", "pancreas"]
    places = np.array(ax.get_yticks())
    assert np.diff(places).min() >= 1
    assert np.diff(places)[2] > np.diff(places)[1]  # a gap between data sets
    np.testing.assert_allclose(ax.containers[0].datavalues, [0.9, 0.5, 1, 0.7, 0.5, 0.75, 1])


def test_homophily_of_one_data_set_overall_only():
    ax = pl.homophily(run_with(["T", "B"]), per_label=False)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["all"]


def test_homophily_of_no_data_set():
    with pytest.raises(ValueError, match="adata is empty"):
        pl.homophily({})
    assert plt.get_fignums() == []


@pytest.mark.parametrize("n_labels", [3, 14, 40])
def test_homophily_with_a_label_without_edges_is_drawn_whole(n_labels):
    ax = pl.homophily(run_of(n_labels))
    assert drawn(ax).startswith(b"\x89PNG")
    assert np.isnan(ax.containers[0].datavalues[-1])


@pytest.mark.parametrize("n_labels", [3, 14, 40])
def test_gene_importance_per_label_is_a_dot_a_gene_and_label(n_labels):
    adata = run_of(n_labels)
    ax = pl.gene_importance(adata, per_label=True, n_genes=2)
    labels = list(adata.uns["scbignn"]["labels"])
    tables = [get.gene_importance(adata, label=label).set_index("gene")["score"] for label in labels]
    genes = list(dict.fromkeys(gene for table in tables[:-1] for gene in table.index[:2]))  # the last has no cells
    assert len(ax.get_yticks()) == len(genes)
    dots = ax.collections[0]
    found = {(int(x), int(y)): share for (x, y), share in zip(dots.get_offsets(), dots.get_array(), strict=True)}
    for column, table in enumerate(tables[:-1]):
        for row, gene in enumerate(genes):
            assert found[column, row] == pytest.approx(table[gene] / table.max())
    assert len(found) == len(genes) * (n_labels - 1)
    sizes = dots.get_sizes()
    np.testing.assert_allclose(sizes / sizes.max(), dots.get_array())
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []
    assert overlapping(ax.get_xticklabels()) == []
