import numpy as np
import pytest

from scbignn import get


@pytest.mark.parametrize("basis", ["pca", "X_pca"])
def test_two_dimensions(furnished, basis):
    table = get.embedding(furnished, basis)
    assert table.columns.tolist() == ["x", "y"]
    assert table.index.equals(furnished.obs_names)
    np.testing.assert_array_equal(table, furnished.obsm["X_pca"])


def test_errors(furnished):
    with pytest.raises(KeyError, match=r"sc\.tl\.umap.*'X_pca'"):
        get.embedding(furnished)
    with pytest.raises(KeyError, match="neither 'tsne' nor 'X_tsne'. Pass one that is there: 'X_pca'"):
        get.embedding(furnished, "tsne")
    furnished.obsm["X_line"] = np.ones((60, 1))
    with pytest.raises(ValueError, match=r"shape \(60, 1\)"):
        get.embedding(furnished, "line")
