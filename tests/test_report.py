import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import scbignn
from scbignn.__main__ import main

HEADS = ["What was run", "Labels", "How sure?", "Map", "Genes", "Graph and training", "The data"]


class Page(HTMLParser):
    """Headlines, tables as lists of rows, pictures, and what the page would load."""

    def __init__(self, path):
        super().__init__()
        self.heads, self.rows, self.pictures, self.loads, self.open = [], [], [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            assert attributes["alt"]
            self.pictures.append(base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,")))
        self.loads += [value for name, value in attributes.items() if name in {"src", "href"} and "data:" not in value]
        if tag == "tr":
            self.rows.append([])
        if tag not in {"img", "meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.heads.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1].append(data)


@pytest.fixture
def page(tmp_path):
    def write(adata, **arguments):
        scbignn.report(adata, tmp_path / "report.html", **arguments)
        return Page(tmp_path / "report.html")

    return write


def test_all_is_on_the_page_and_nothing_beside_it(annotated, page):
    found = page(annotated)
    assert found.heads == HEADS
    assert found.loads == []
    assert "<script" not in found.text
    assert len(found.text) < 5e6
    assert len(found.pictures) >= 6
    assert all(picture.startswith(b"\x89PNG") for picture in found.pictures)


def test_figures_in_tables(annotated, page):
    annotated.obs["donor"] = np.where(np.arange(annotated.n_obs) % 3, "d<1>", "d2")
    found = page(annotated, batch_key="donor", truth_key="truth")
    assert found.heads == [*HEADS[:2], "Labels by sample", *HEADS[2:4], "Agreement with the truth", *HEADS[4:]]
    rows = {row[0]: row[1:] for row in found.rows if row}
    assert rows["cells x genes"] == [f"{annotated.n_obs} x {annotated.n_vars}"]
    assert "d<1>" in next(row for row in found.rows if "d2" in row)
    table = scbignn.get.annotation(annotated)
    mine = [row for row in found.rows if row and row[0] == "type 1"]
    assert mine[0][1] == str((table["label"] == "type 1").sum())
    shares = pd.crosstab(table["label"], annotated.obs["donor"], normalize="columns").loc["type 1"]
    assert mine[1][1:] == [f"{share:.1%}" for share in shares]
    genes = scbignn.get.gene_importance(annotated, by="attribution", label="type 1", n_genes=8)["gene"]
    assert mine[2][1] == ", ".join(genes)


def test_agreement_is_over_cells_that_were_not_labelled(annotated, page):
    hidden = (annotated.obs["cell_type"] == "Unknown").to_numpy()
    right = annotated.obs["scbignn"].astype(str) == annotated.obs["truth"].astype(str)
    text = page(annotated, truth_key="truth").text
    assert f"Over {hidden.sum()} cells with a known truth that were not labelled beforehand" in text
    assert f"accuracy {right[hidden].mean():.1%}" in text
    annotated.obs["partly"] = annotated.obs["truth"].where(~hidden)
    assert "There are no cells with a known truth" in page(annotated, truth_key="partly").text


def test_what_stands_for_no_label_is_no_truth(annotated, page):
    hidden = (annotated.obs["cell_type"] == "Unknown").to_numpy()
    assert "There are no cells with a known truth" in page(annotated, truth_key="cell_type").text
    some = hidden & (np.arange(annotated.n_obs) % 2 == 0)
    annotated.obs["half"] = annotated.obs["truth"].astype(object).where(some, "Unknown")
    right = annotated.obs["scbignn"].astype(str) == annotated.obs["truth"].astype(str)
    text = page(annotated, truth_key="half").text
    assert f"Over {some.sum()} cells" in text
    assert f"accuracy {right[some].mean():.1%}" in text


def test_numbers_are_compared_as_labels_are_written(adata, fast, page):
    codes = adata.obs["truth"].cat.codes.astype(float)
    adata.obs["given"], adata.obs["true"] = codes.where(np.arange(adata.n_obs) % 2 == 0), codes
    scbignn.tl.annotate(adata, "given", config=fast)
    right = adata.obs["scbignn"].astype(float) == codes
    hidden = np.arange(adata.n_obs) % 2 == 1
    assert right[hidden].any()
    assert f"accuracy {right[hidden].mean():.1%}" in page(adata, truth_key="true").text


def test_columns_of_one_name_are_refused(annotated, page):
    annotated.obs = pd.concat([annotated.obs, annotated.obs[["truth"]]], axis=1)
    with pytest.raises(ValueError, match="2 columns named 'truth'"):
        page(annotated, truth_key="truth")


def test_a_prediction_without_a_graph(adata, fast, page):
    model = scbignn.tl.fit(adata, "cell_type", config=fast)
    query = adata[:20].copy()
    del query.obs["cell_type"]
    scbignn.tl.predict(query, model, mode="inductive")
    found = page(query, truth_key="truth")
    assert "Map" not in found.heads
    assert "genes of the reference found" in found.text
    assert "Over 20 cells with a known truth: accuracy" in found.text
    query.obsm["X_umap"] = np.random.default_rng(0).normal(size=(20, 2))
    found = page(query)
    assert "The UMAP that the data came with" in found.text


def test_names_are_text(annotated, page):
    annotated.obs["scbignn"] = annotated.obs["scbignn"].cat.rename_categories({"type 1": "<b>T & $x$</b>"})
    annotated.uns["scbignn"]["labels"] = np.array(["type 0", "<b>T & $x$</b>", "type 2"], dtype=object)
    found = page(annotated, title="Liver <1>")
    assert "<b>" not in found.text
    assert any("<b>T & $x$</b>" in row for row in found.rows)
    assert "<h1>Liver &lt;1&gt;</h1>" in found.text


def test_the_data_stay_as_they_were(annotated, contents, page):
    before = contents(annotated)
    page(annotated, truth_key="truth")
    assert contents(annotated) == before


def test_errors_come_before_anything_is_written(annotated, adata, tmp_path):
    path = tmp_path / "report.html"
    for data, arguments, error, message in (
        (adata, {}, KeyError, "holds no annotation"),
        (annotated, {"truth_key": "kind"}, KeyError, "no column 'kind'"),
        (annotated, {"batch_key": "plate"}, KeyError, "no column 'plate'"),
        (annotated.X, {}, TypeError, "not an AnnData"),
    ):
        with pytest.raises(error, match=message):
            scbignn.report(data, path, **arguments)
    assert not path.exists()
    with pytest.raises(OSError, match=re.escape("nowhere")):
        scbignn.report(annotated, tmp_path / "nowhere" / "report.html")


def test_command(annotated, tmp_path, capsys):
    source, target = tmp_path / "cells.h5ad", tmp_path / "report.html"
    annotated.write_h5ad(source)
    assert main(["report", str(source), "-o", str(target), "--truth-key", "truth", "--title", "Liver"]) == 0
    assert f"wrote {target}" in capsys.readouterr().out
    assert "<h1>Liver</h1>" in target.read_text()
    assert main(["report", str(source), "-o", str(target), "--key", "other"]) == 2
    assert "holds no annotation" in capsys.readouterr().err
