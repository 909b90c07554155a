import doctest
import inspect

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbignn import get
from scbignn._agreement import agreement


@pytest.fixture
def validated():
    rng = np.random.default_rng(0)
    adata = AnnData(np.ones((2, 2), dtype=np.float32))
    genes = [f"g{number}" for number in range(80)]
    adata.uns["scbignn_cv"] = {
        "folds": None,
        "rounds": None,
        "gene_importance": pd.DataFrame(rng.normal(size=(80, 3)), genes, ["0", "1", "2"]),
        "gene_attribution": pd.DataFrame(rng.normal(size=(80, 2)), genes, ["0", "1"]),
    }
    return adata


@pytest.mark.parametrize(("by", "table"), [("attention", "gene_importance"), ("attribution", "gene_attribution")])
def test_of_the_folds_of_a_cross_validation(validated, by, table):
    scores = get.cross_validation(validated, table=table)
    pd.testing.assert_frame_equal(get.importance_stability(validated, by=by), agreement(scores, 50))
    pd.testing.assert_frame_equal(get.importance_stability(scores, n_top=7), agreement(scores, 7))


def test_the_measure_defaults_to_the_papers(validated):
    pd.testing.assert_frame_equal(
        get.importance_stability(validated), get.importance_stability(validated, by="attention")
    )


def test_errors(validated):
    with pytest.raises(ValueError, match=r"by='weight' is unknown"):
        get.importance_stability(validated, by="weight")
    for n_top in (0, "3", True):
        with pytest.raises(ValueError, match=f"n_top={n_top!r} must be a whole number, 1 or more"):
            get.importance_stability(validated, n_top=n_top)
    with pytest.raises(TypeError, match=r"runs is of type list"):
        get.importance_stability([1, 2])
    with pytest.raises(ValueError, match=r"runs has 1 column"):
        get.importance_stability(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(KeyError, match=r"holds no cross-validation"):
        get.importance_stability(validated, key="other")


def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(get.importance_stability), {}, "stability", None, None)
    assert len(example.examples) > 2
    assert runner.run(example).failed == 0
