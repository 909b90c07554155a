import numpy as np
import pytest
from pictures import run_of

from scbignn import get


def test_a_row_a_group():
    adata = run_of(4)
    table = get.confidence(adata, groupby="truth")
    assert table.columns.tolist() == ["n_cells", "q05", "q25", "median", "q75", "q95", "unknown"]
    assert table["n_cells"].sum() == adata.n_obs
    assert table["n_cells"].iloc[-1] == 0
    assert table.iloc[-1, 1:].isna().all()
    assert (table["unknown"] * table["n_cells"]).sum() == pytest.approx(12)


def test_quantiles_by_the_predicted_label_unless_asked():
    adata = run_of(4)
    table = get.confidence(adata)
    assert table.index.tolist() == adata.obs["scbignn"].cat.categories.tolist()
    own = adata.obs["scbignn_confidence"][adata.obs["scbignn"] == "type 0"].to_numpy(float)
    np.testing.assert_allclose(
        table.loc["type 0", ["q05", "q25", "median", "q75", "q95"]].astype(float),
        np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]),
    )
    assert table.loc["Unknown", "unknown"] == 1
    with pytest.raises(KeyError, match="no column 'donor'"):
        get.confidence(adata, groupby="donor")
