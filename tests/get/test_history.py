import numpy as np

import scbignn
from scbignn import get


def test_columns_and_types(annotated):
    table = get.history(annotated)
    assert table.columns.tolist() == [
        "round", "step", "network", "epoch", "loss", "val_loss", "val_accuracy", "selected",
    ]  # fmt: skip
    assert table["selected"].dtype == bool
    assert np.issubdtype(table["round"].dtype, np.integer)
    assert np.isfinite(table[["loss", "val_loss", "val_accuracy"]]).all(axis=None)
    assert table["val_accuracy"].between(0, 1).all()


def test_steps_follow_the_algorithm(adata, fast):
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    table = get.history(adata)
    stages = table[["round", "step", "network"]].drop_duplicates().to_numpy().tolist()
    assert stages[:3] == [[0, "pretrain", "q"], [1, "M", "p"], [1, "E", "q"]]
    for _, stage in table.groupby(["round", "step"]):
        assert stage["epoch"].tolist() == list(range(len(stage)))
        assert stage["selected"].sum() == 1
        if fast.validation_fraction:
            assert stage.loc[stage["selected"], "val_loss"].item() == stage["val_loss"].min()
        else:
            assert stage["selected"].iloc[-1]
