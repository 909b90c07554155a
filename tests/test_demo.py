import contextlib
import dataclasses
import io
import re

import anndata
import matplotlib.image
import matplotlib.pyplot as plt
import pytest

from scbignn import get
from scbignn.__main__ import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory, fast):
    """One run of the demo with little training: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "here"
    config = dataclasses.replace(fast, n_top_genes=200, pretrain_epochs=15, m_step_updates=30)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr("scbignn.tl._learn.Config", lambda: config)
        assert main(["demo", "-o", str(folder)]) == 0
    assert plt.get_fignums() == []
    return folder, printed.getvalue()


def test_prints_what_a_newcomer_wants_to_know(shown):
    _, text = shown
    assert "700 blood cells" in text
    assert "350 cells" in text
    assert "accuracy  macro-F1" in text
    for name in ("scBiGNN", "linear SVM, tuned"):
        accuracy, macro_f1 = map(float, re.search(rf"{name} +(\d\.\d+) +(\d\.\d+)", text).groups())
        assert 0 < macro_f1 <= 1
        assert 0.15 < accuracy <= 1  # by chance: 0.1
    learned, raw = map(float, re.search(r"learned graph (\S+), raw PCA graph (\S+)\n", text).groups())
    assert 0 < learned <= 1
    assert 0.5 < raw <= 1
    assert re.search(r"Time: \d+ s for annotation, \d+ s in all", text)


def test_names_genes_slots_and_files(shown):
    folder, text = shown
    adata = anndata.read_h5ad(folder / "annotated.h5ad")
    genes = get.gene_importance(adata, by="attribution", n_genes=10)["gene"]
    assert f"Genes that the labels rest on most: {', '.join(genes)}\n" in text
    slots = re.search(r"Written to the AnnData: (.*)\n", text).group(1)
    for part in slots.split("; "):
        attribute, names = part.split(" ", 1)
        assert set(names.split(", ")) <= set(getattr(adata, attribute))
    assert f"Written to {folder}: annotated.h5ad, gene_importance.png, homophily.png, history.png\n" in text


def test_writes_the_data_and_three_figures(shown):
    folder, _ = shown
    figures = ["gene_importance.png", "history.png", "homophily.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["annotated.h5ad", *figures]
    for name in figures:
        image = matplotlib.image.imread(folder / name)
        assert image.shape[0] > 200
        assert image[..., :3].min() < 0.5  # something is drawn
    adata = anndata.read_h5ad(folder / "annotated.h5ad")
    assert (adata.obs["shown"] == "Unknown").sum() == 350
    assert len(get.annotation(adata)) == 700
    colors = dict(zip(adata.obs["shown"].cat.categories, adata.uns["shown_colors"], strict=True))
    found = dict(zip(adata.obs["scbignn"].cat.categories, adata.uns["scbignn_colors"], strict=True))
    assert found.items() <= colors.items()
