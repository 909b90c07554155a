import numpy as np
import pytest

from scbignn import get, graph


def test_rows_columns_and_range(annotated):
    table = get.homophily(annotated)
    assert table.index.tolist() == ["all", "type 0", "type 1", "type 2"]
    assert (table.dtypes == np.float64).all()
    assert table.columns.tolist() == ["learned", "raw"]
    assert ((table >= 0) & (table <= 1)).all(axis=None)


def test_learned_graph_is_counted_among_labelled_cells(annotated):
    codes = annotated.obs["cell_type"].cat.codes.to_numpy().astype(int)
    codes[(annotated.obs["cell_type"] == "Unknown").to_numpy()] = -1
    expected = graph.homophily(annotated.obsp["scbignn_distances"], codes)
    assert get.homophily(annotated).loc["all", "learned"] == pytest.approx(expected, abs=1e-12)
    assert expected > 1 / 3
