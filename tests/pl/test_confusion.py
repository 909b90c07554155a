import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import drawn, overlapping, run_of

from scbignn import get, pl


@pytest.mark.parametrize("n_labels", [3, 14, 40])
def test_shares_of_the_row(n_labels):
    adata = run_of(n_labels)
    ax = pl.confusion(adata, "truth")
    share = get.confusion(adata, "truth", normalize=True)
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.filled(np.nan), share.to_numpy())
    assert shown.mask[-1].all()  # the class without cells comes last and is grey
    assert not shown.mask[:-1].any()
    np.testing.assert_allclose(shown[:-1].sum(1), 1)
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(rows) == n_labels
    assert rows[-1].endswith("(0)")
    assert sum(int(row.rsplit("(")[-1][:-1]) for row in rows) == adata.n_obs
    assert [tick.get_text() for tick in ax.get_xticklabels()][-1] == "Unknown"
    assert ax.images[0].get_clim() == (0, 1)
    assert drawn(ax).startswith(b"\x89PNG")
    assert overlapping(ax.get_yticklabels()) == []
    assert overlapping(ax.get_xticklabels()) == []


@pytest.mark.parametrize(("n_labels", "written"), [(3, True), (14, True), (40, False)])
def test_shares_are_written_where_there_is_room(n_labels, written):
    adata = run_of(n_labels)
    ax = pl.confusion(adata, "truth")
    share = get.confusion(adata, "truth", normalize=True).to_numpy()
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    expected = {(c, r): f"{100 * share[r, c]:.0f}" for r, c in np.argwhere(share >= 0.005)} if written else {}
    assert texts == expected
    assert len(ax.figure.axes) == (1 if written else 2)  # a colour bar in place of numbers


def test_on_given_axes_and_errors(adata, contents):
    run = run_of(5)
    before = contents(run)
    figure, (left, right) = plt.subplots(ncols=2)
    assert pl.confusion(run, "truth", ax=right) is right
    assert not left.has_data()
    assert contents(run) == before
    with pytest.raises(KeyError, match="no column 'nonsense'"):
        pl.confusion(run, "nonsense")
    with pytest.raises(KeyError, match=r"scbignn\.tl\.annotate"):
        pl.confusion(adata, "truth")
    assert plt.get_fignums() == [figure.number]
