import numpy as np

import scbignn


def test_contents():
    adata = scbignn.datasets.pbmc68k_reduced()
    assert adata.shape == (700, 765)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.float32)
    assert adata.X.min() >= 0
    assert adata.obs["cell_type"].nunique() == len(adata.uns["cell_type_colors"]) == 10
    assert list(adata.obs) == ["cell_type"]
    assert list(adata.obsm) == ["X_umap"]
    assert adata.raw is None


def test_annotate_can_undo_its_logarithm():
    report = str(scbignn.pp.inspect(scbignn.datasets.pbmc68k_reduced(), labels_key="cell_type"))
    assert "log1p" in report
