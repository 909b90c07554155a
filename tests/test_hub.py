"""Sharing models, against a hub on this machine."""

import socket
import sys

import numpy as np
import pytest
from hub import hub as serve
from small import FAST

import scbignn
from scbignn._hub import as_table, card, pull, push

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """No cache, no token and no settings but the test's own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub():
    with serve() as found:
        yield found


@pytest.fixture(scope="module")
def query():
    return scbignn.datasets.simulated(n_cells=75, n_genes=40, n_types=3, rng=0)


@pytest.fixture(scope="module")
def model(query):
    return scbignn.tl.fit(query, "cell_type", config=FAST, backend="torch")


@pytest.fixture
def shared(hub, model):
    """A hub that has the model, and beside it files that nobody should open."""
    model.push_to_hub("lab/blood", endpoint=hub.url)
    hub.repositories["lab/blood"][-1][1].update({"model.pkl": b"evil", "scbignn.py": b"raise SystemExit"})
    hub.asked.clear()
    return hub


def by_default(hub, monkeypatch):
    """What the environment variable HF_ENDPOINT would have done before the import."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_there_and_back(shared, model, query, monkeypatch):
    by_default(shared, monkeypatch)
    found = [scbignn.annotation.Model.from_hub("lab/blood"), scbignn.read_model("hf://lab/blood")]
    scbignn.tl.predict(query, model, mode="inductive")
    for number, again in enumerate(found):
        scbignn.tl.predict(query, again, mode="inductive", key_added=f"again {number}")
        np.testing.assert_array_equal(query.obsm[f"again {number}_proba"], query.obsm["scbignn_proba"])
    files = {line.rpartition("/")[2] for line in shared.asked if "/resolve/" in line}
    assert files == {"model.json", "model.safetensors"}  # and none of the others


def test_what_is_uploaded(hub, model, query, tmp_path):
    assert model.push_to_hub("lab/blood", endpoint=hub.url, commit_message="First") == f"{hub.url}/lab/blood"
    _, (message, files) = hub.repositories["lab/blood"]
    assert message == "First"
    assert set(files) == {"README.md", "model.json", "model.safetensors"}
    model.save(tmp_path / "model")
    for name in ("model.json", "model.safetensors"):
        assert files[name] == (tmp_path / "model" / name).read_bytes()
    readme = files["README.md"].decode()
    assert readme.startswith("---\nlibrary_name: scbignn\n")
    for part in (
        'scbignn.read_model("hf://lab/blood")',
        "# blood",
        "| type 1 | 13 |" if (query.obs["cell_type"] == "type 1").sum() == 13 else "| type 1 |",
        "40, such as",
        "| n_top_genes | 30 |",
        "Expected calibration error",
        f"| scbignn | {scbignn.__version__} |",
        "| label column | cell_type |",
    ):
        assert part in readme
    assert hub.private == set()


def test_pushed_twice_the_newer_is_read_and_the_older_by_its_commit(hub, model, monkeypatch):
    for name in ("One", "Two"):
        model.about["note"] = name
        model.push_to_hub("lab/blood", endpoint=hub.url)
    del model.about["note"]
    by_default(hub, monkeypatch)
    first = hub.shas("lab/blood")[1]
    assert scbignn.read_model("hf://lab/blood").about["note"] == "Two"
    assert scbignn.read_model(f"hf://lab/blood@{first}").about["note"] == "One"
    assert scbignn.annotation.Model.from_hub("lab/blood", first).about["note"] == "One"


def test_private_only_where_asked_and_the_token_goes_along(hub, model):
    hub.token = "secret"
    model.push_to_hub("lab/blood", endpoint=hub.url, token="secret", private=True)
    assert hub.private == {"lab/blood"}
    with pytest.raises(PermissionError, match=r"does not let you .*hf auth login.*token="):
        model.push_to_hub("lab/other", endpoint=hub.url, token="wrong")
    with pytest.raises(PermissionError, match="does not let you"):
        model.push_to_hub("lab/other", endpoint=hub.url)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_tampered_file_is_refused(shared, name):
    files = shared.repositories["lab/blood"][-1][1]
    place = len(files[name]) // 2
    digit = b"7" if files[name][place : place + 1] != b"7" else b"3"
    files[name] = files[name][:place] + digit + files[name][place + 1 :]
    with pytest.raises(ValueError, match=r"was changed after it was saved|is not a model of scbignn"):
        scbignn.annotation.Model.from_hub("lab/blood", endpoint=shared.url)


def test_a_repository_without_a_model(shared):
    shared.repositories["lab/blood"][-1][1].pop("model.json")
    with pytest.raises(ValueError, match="is not a model of scbignn"):
        scbignn.annotation.Model.from_hub("lab/blood", endpoint=shared.url)


def test_a_model_of_another_kind(hub, query):
    clusters = scbignn.tl.fit_clusters(query, 3)
    clusters.push_to_hub("lab/clusters", endpoint=hub.url)
    readme = hub.repositories["lab/clusters"][-1][1]["README.md"].decode()
    assert "to 3 clusters" in readme
    again = scbignn.clustering.Model.from_hub("lab/clusters", endpoint=hub.url)
    np.testing.assert_array_equal(again.landmarks.anchors, clusters.landmarks.anchors)
    with pytest.raises(ValueError, match="holds a model of the kind 'clustering', not 'annotation'"):
        scbignn.annotation.Model.from_hub("lab/clusters", endpoint=hub.url)


def test_no_such_repository_or_revision(shared):
    with pytest.raises(FileNotFoundError, match=r"there is no lab/bone at http.*private.*hf auth login"):
        scbignn.annotation.Model.from_hub("lab/bone", endpoint=shared.url)
    with pytest.raises(FileNotFoundError, match="no such revision"):
        scbignn.annotation.Model.from_hub("lab/blood", "v9", endpoint=shared.url)


@pytest.mark.parametrize("repo_id", ["a/b/c", "white space", "-x/y"])
def test_no_name_of_a_repository(model, hub, repo_id):
    with pytest.raises(ValueError, match="is no name of a repository"):
        scbignn.annotation.Model.from_hub(repo_id, endpoint=hub.url)
    with pytest.raises(ValueError, match="is no name of a repository"):
        model.push_to_hub(repo_id, endpoint=hub.url)


def test_no_network(model):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ConnectionError, match="cannot be reached, and lab/blood has not been downloaded before"):
            scbignn.annotation.Model.from_hub("lab/blood", endpoint=endpoint)
        with pytest.raises(ConnectionError, match="cannot be reached"):
            model.push_to_hub("lab/blood", endpoint=endpoint)


def test_a_model_that_was_read_before_needs_no_network(shared, model):
    first = pull("lab/blood", None, token=None, endpoint=shared.url)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert pull("lab/blood", None, token=None, endpoint=endpoint) == first


def test_a_hub_that_fails(tmp_path, hub):
    hub.repositories["lab/blood"] = [("initial", {})]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_text("a")
    hub.repositories = {}  # forgets what it has just made
    hub.repositories = type("Leaky", (dict,), {"setdefault": lambda *_: None})()
    with pytest.raises((ConnectionError, FileNotFoundError)):
        push(tmp_path / "model", "lab/blood", token=None, private=False, message="x", endpoint=hub.url)


def test_without_huggingface_hub(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for do in (
        lambda: model.push_to_hub("lab/blood"),
        lambda: scbignn.annotation.Model.from_hub("lab/blood"),
        lambda: scbignn.read_model("hf://lab/blood"),
    ):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "scbignn\[hub\]"'):
            do()


def test_cards_and_tables():
    text = card("lab/blood", "What it is.", ["cells"], {"Head": "Text."})
    assert text.splitlines()[:5] == ["---", "library_name: scbignn", "tags:", "- cells", "---"]
    assert "## Head\n\nText.\n" in text
    assert as_table({"T|NK\ncell": None}, "a", "b") == "| a | b |\n|---|---|\n| T\\|NK cell |  |"
