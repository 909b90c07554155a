import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbignn import get

FIGURES = ["auroc", "auprc", "auprc_ratio", "early_precision", "tf_auroc", "tf_auprc"]


def test_a_row_a_scorer():
    adata = AnnData(np.ones((2, 4), dtype=np.float32))
    prefixes = ["", "baseline_", "ridge_", "network_"]
    metrics = {prefix + figure: 10.0 * i + j for i, prefix in enumerate(prefixes) for j, figure in enumerate(FIGURES)}
    adata.uns["sctransnet"] = {"verdict": "", "metrics": metrics}
    table = get.grn_metrics(adata)
    assert table.columns.tolist() == FIGURES
    np.testing.assert_array_equal(table.to_numpy(), [[10 * i + j for j in range(6)] for i in range(4)])
    assert table.index[1] == "degree baseline"


def test_curves_are_as_stored():
    adata = AnnData(np.ones((2, 4), dtype=np.float32))
    curves = pd.DataFrame({"recall": [0.0, 1.0], "model": [1.0, 0.5], "baseline": [0.5, 0.4]})
    adata.uns["sctransnet"] = {"verdict": "", "metrics": {}, "curves": curves}
    pd.testing.assert_frame_equal(get.grn_curves(adata), curves)
    with pytest.raises(KeyError, match="no 'roc': it is of an earlier version"):
        get.grn_curves(adata, kind="roc")
    adata.uns["sctransnet"]["roc"] = -curves
    pd.testing.assert_frame_equal(get.grn_curves(adata, kind="roc"), -curves)
    with pytest.raises(ValueError, match="kind='lift' is unknown"):
        get.grn_curves(adata, kind="lift")
