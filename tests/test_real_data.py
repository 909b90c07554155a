"""What the checks find in real data; skipped where the folder with it is not at hand."""

import os
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from scbignn._adata import read_expression
from scbignn._check import Expression, read_labels
from scbignn.pp import inspect

FOLDER = Path(os.environ.get("SCBIGNN_DATA", Path(__file__).parents[2] / "shared" / "data"))
NAMES = ["baron_mouse", "zheng_sorted_4k", "pbmc3k", "worm_neuron", "kang_pbmc_muscat", "sc_mixology_3cl"]

pytestmark = pytest.mark.data


@pytest.fixture(params=NAMES)
def real(request):
    path = FOLDER / f"{request.param}.h5ad"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder that SCBIGNN_DATA names")
    return anndata.read_h5ad(path)


def test_counts_are_found_to_be_counts(real):
    x, expression = read_expression(real, None)
    assert expression == Expression("X", "counts")
    assert (x != real.X).nnz == 0


@pytest.mark.parametrize(("base", "log"), [("e", np.log1p), ("2", lambda x: np.log2(1 + x))])
def test_log1p_of_normalised_counts_is_undone(real, base, log):
    normalised = sp.csr_matrix(real.X, dtype=np.float64)
    normalised = sp.csr_matrix(normalised.multiply(1e4 / normalised.sum(1)))
    real.X = normalised.astype(np.float32)
    real.X.data = log(real.X.data)
    x, expression = read_expression(real, None)
    assert expression == Expression("X", "log1p", base)
    np.testing.assert_allclose(x.data, normalised.data, rtol=1e-4)


def test_labels_are_read(real):
    real.obs["shown"] = real.obs["cell_type"].astype(object).where(np.arange(real.n_obs) % 2 == 0)
    labels = read_labels(real, "shown", "Unknown")
    assert len(labels.names) == real.obs["shown"].nunique()
    shown = np.array([*labels.names, None], dtype=object)[labels.codes]
    assert (shown[::2] == real.obs["cell_type"].astype(str).to_numpy()[::2]).all()
    assert (labels.codes[1::2] == -1).all()


def test_nothing_is_wrong_with_them(real):
    report = inspect(real, labels_key="cell_type")
    assert report.ok
    assert report.findings[0].found.startswith("integer counts")
