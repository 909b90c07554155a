import pytest

import scbignn


@pytest.mark.parametrize("content", [None, "", "[]", '{"scbignn": 3}', '{"format": 1}'])
def test_what_is_no_model(tmp_path, content):
    folder = tmp_path / "model"
    folder.mkdir()
    if content is not None:
        (folder / "model.json").write_text(content)
    with pytest.raises(ValueError, match="is not a model of scbignn"):
        scbignn.read_model(folder)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no"):
        scbignn.read_model(tmp_path / "none")
    with pytest.raises(TypeError, match="Pass the name of a folder"):
        scbignn.read_model(3)


def test_every_kind_is_read(tmp_path, adata, fast):
    wings = {
        "annotation": scbignn.tl.fit(adata, "cell_type", config=fast),
        "clustering": scbignn.tl.fit_clusters(adata, 2, config=scbignn.clustering.Config(n_resamples=0)),
    }
    for name, model in wings.items():
        model.save(tmp_path / name)
        assert type(scbignn.read_model(tmp_path / name)) is type(model)
