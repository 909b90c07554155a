import hashlib
import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from small import generator

from scbignn.regulation import Config, _scbert, encode_genes, read_scbert
from scbignn.regulation._scbert import bins, expected_shapes

CPU = torch.device("cpu")
GENES = [f"G{number}" for number in range(30)]


def weights_of(n_genes=30, d=10, n_heads=2, n_layers=2, n_features=7, seed=0):
    """Random weights by the names, shapes and types of the published file."""
    g = generator(seed)
    found = {
        name: torch.randn(shape, generator=g) * (0.2 if len(shape) == 2 else 1)
        for name, shape in expected_shapes(n_genes, d, n_heads, n_layers, n_features).items()
    }
    found["performer.calls_since_last_redraw"] = torch.tensor(17)
    found["pos_emb.emb.weight"] = torch.cat([torch.randn(n_genes, d, generator=g), torch.zeros(1, d)]).double()
    return found


def saved(path, weights):
    """With what training keeps beside the weights."""
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save(
        {"epoch": 3, "model_state_dict": weights, "optimizer_state_dict": optimizer, "scheduler_state_dict": {}}, path
    )
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path / "model.pth", weights_of())


@pytest.fixture
def model(checkpoint):
    return read_scbert(checkpoint, GENES, check_genes=False)


def cells(n_cells=5, n_genes=30, seed=0):
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(np.log1p(rng.poisson(3, (n_cells, n_genes)) * rng.integers(0, 20, (n_cells, n_genes))))


def dense_reference(w, token):
    """One cell by a transformer with every attention matrix written out, float64; vectors and mean attention."""
    w = {name: value.double() for name, value in w.items()}
    h = w["token_emb.weight"][torch.as_tensor(token)] + w["pos_emb.emb.weight"]
    d, received, n_layers = h.shape[1], [], 2

    def norm(h, name):
        return F.layer_norm(h, (d,), w[f"{name}.weight"], w[f"{name}.bias"])

    for layer in range(n_layers):
        at = f"performer.net.layers.{layer}"
        x = norm(h, f"{at}.0.norm")
        q, k, v = ((x @ w[f"{at}.0.fn.to_{part}.weight"].T).reshape(len(h), -1, 64).transpose(0, 1) for part in "qkv")
        projection = w[f"{at}.0.fn.fast_attention.projection_matrix"]
        logits_q, logits_k = (part @ projection.T / 64**0.25 for part in (q, k))
        sizes = [(part**2).sum(-1, keepdim=True) / (2 * 8) for part in (q, k)]
        phi_q = (logits_q - sizes[0] - logits_q.amax(-1, keepdim=True)).exp() + 1e-4
        phi_k = (logits_k - sizes[1] - logits_k.max()).exp() + 1e-4
        a = phi_q @ phi_k.transpose(1, 2)
        a = a / a.sum(-1, keepdim=True)
        received.append(a.mean((0, 1)))
        h = h + F.linear((a @ v).transpose(0, 1).flatten(1), w[f"{at}.0.fn.to_out.weight"], w[f"{at}.0.fn.to_out.bias"])
        x = norm(h, f"{at}.1.norm")
        x = F.gelu(F.linear(x, w[f"{at}.1.fn.fn.w1.weight"], w[f"{at}.1.fn.fn.w1.bias"]))
        h = h + F.linear(x, w[f"{at}.1.fn.fn.w2.weight"], w[f"{at}.1.fn.fn.w2.bias"])
    return norm(h, "norm").numpy(), torch.stack(received).mean(0).numpy() * len(token)


def test_cells_come_out_as_from_a_dense_transformer(model):
    x = cells()
    places = model.places(GENES)
    for row, state in enumerate(model.states(x, places, CPU, received=True)):
        token = np.append(np.floor(np.minimum(x[row].toarray().ravel() / np.log(2), 5)).astype(int), 0)
        assert len(set(token)) > 3
        vectors, attention = dense_reference(weights_of(), token)
        np.testing.assert_allclose(state.vectors, vectors[:-1], atol=2e-4)
        np.testing.assert_allclose(state.attention, attention[:-1], rtol=2e-3)


def test_a_cell_does_not_depend_on_others_and_attention_not_on_being_asked_for(model):
    x, places = cells(), model.places(GENES)
    together = list(model.states(x, places, CPU, received=True))
    alone = next(model.states(x[3], places, CPU, received=True))
    np.testing.assert_array_equal(alone.vectors, together[3].vectors)
    np.testing.assert_array_equal(alone.attention, together[3].attention)
    plain = next(model.states(x[3], places, CPU, received=False))
    np.testing.assert_array_equal(plain.vectors, alone.vectors)
    assert (plain.attention == 1).all()


def test_bins_are_those_of_log2():
    counts = np.array([0, 0.9, 1, 2.9, 3, 7, 15, 30.9, 31, 1000])
    np.testing.assert_array_equal(bins(np.log1p(counts) * (1 + 1e-12)), [0, 0, 1, 1, 2, 3, 4, 4, 5, 5])


def test_the_panel_decides_which_genes_are_read(checkpoint):
    full = read_scbert(checkpoint, GENES, check_genes=False)
    few = read_scbert(checkpoint, GENES, check_genes=False, panel="dataset")
    x = cells(2, 4)
    names = ["G7", "nobody", "g2", "G11"]
    places = full.places(names)
    np.testing.assert_array_equal(places, [7, -1, 2, 11])
    # Genes that the data lack are not expressed ...
    token = np.zeros(31, dtype=int)
    token[[7, 2, 11]] = bins(x[0].toarray().ravel())[[0, 2, 3]]
    found = next(full.states(x, places, CPU, received=True))
    np.testing.assert_allclose(found.vectors, dense_reference(weights_of(), token)[0][[7, 2, 11]], atol=2e-4)
    # ... or not there.
    w = weights_of()
    w["pos_emb.emb.weight"] = w["pos_emb.emb.weight"][[7, 2, 11, 30]]
    found = next(few.states(x, places, CPU, received=True))
    expected = dense_reference(w, token[[7, 2, 11, 30]])
    np.testing.assert_allclose(found.vectors, expected[0][:-1], atol=2e-4)
    np.testing.assert_allclose(found.attention, expected[1][:-1], rtol=2e-3)


def test_names_are_found_once_and_as_they_are_first(model):
    np.testing.assert_array_equal(model.places(["g3", "G3", "g4", "G4x"]), [-1, 3, 4, -1])
    np.testing.assert_array_equal(model.places(["g3", "g3"]), [3, -1])


def test_genes_get_vectors(model):
    names = [*GENES[:10], "nobody"]
    config = Config(n_representative=2)
    found = encode_genes(model, cells(4, 11), names, config, device=CPU)
    assert found.shape == (11, 10)
    assert np.isfinite(found[:10]).all()
    assert np.isnan(found[10]).all()


@pytest.mark.parametrize("form", ["bare", "parallel", "fine-tuned"])
def test_other_forms_of_the_file(tmp_path, form, model):
    w = weights_of()
    if form == "parallel":
        w = {f"module.{name}": value for name, value in w.items()}
    if form == "fine-tuned":
        w = {name: value for name, value in w.items() if not name.startswith("to_out")}
        w |= {"to_out.conv1.weight": torch.zeros(1, 1, 1, 10), "to_out.fc1.bias": torch.zeros(3)}
    torch.save(w, tmp_path / "m.pth")
    found = read_scbert(tmp_path / "m.pth", GENES, check_genes=False)
    assert found.weights.keys() == model.weights.keys()
    assert all(torch.equal(found.weights[name], model.weights[name]) for name in found.weights)
    assert all(value.dtype == torch.float32 for value in found.weights.values())


def test_the_published_shape_has_91_tensors():
    shapes = expected_shapes(16_906, 200, 10, 6, 266)
    assert len(shapes) == 91
    trained = {name: shape for name, shape in shapes.items() if "projection" not in name and "pos_emb" not in name}
    assert sum(int(np.prod(shape)) for shape in trained.values()) - 1 == 5_007_207
    assert shapes["performer.net.layers.5.0.fn.to_k.weight"] == (640, 200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("norm.bias"), "lacks 'norm.bias'"),
        (
            lambda w: w.pop("performer.net.layers.1.0.fn.to_k.weight"),
            r"lacks 'performer.net.layers.1.0.fn.to_k.weight'",
        ),
        (lambda w: w.pop("token_emb.weight"), "has no matrix 'token_emb.weight'; it holds"),
        (lambda w: w.update(other=torch.zeros(1)), "has 'other', which scBERT has not"),
        (lambda w: w.update({"norm.bias": torch.zeros(3)}), r"'norm.bias' has the shape \(3,\), not \(10,\)"),
        (lambda w: w["norm.bias"].fill_(torch.nan), "'norm.bias' holds NaN"),
    ],
)
def test_files_with_other_tensors_are_refused(tmp_path, change, message):
    w = weights_of()
    change(w)
    with pytest.raises(ValueError, match=message):
        read_scbert(saved(tmp_path / "m.pth", w), GENES, check_genes=False)


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*panglao_pretrain.pth"):
        read_scbert(tmp_path / "absent.pth", GENES)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as a torch checkpoint"):
        read_scbert(tmp_path / "text.pth", GENES)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no dictionary of tensors"):
        read_scbert(tmp_path / "list.pth", GENES)

    class Code:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"model_state_dict": {"a": Code()}}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="cannot be read as a torch checkpoint"):
        read_scbert(tmp_path / "code.pth", GENES)


@pytest.mark.parametrize("kind", ["txt", "list.json", "places.json"])
def test_gene_lists_from_files(checkpoint, tmp_path, kind):
    file = tmp_path / kind
    contents = {
        "txt": "\n".join(GENES) + "\n",
        "list.json": json.dumps(GENES),
        "places.json": json.dumps({name: place for place, name in sorted(enumerate(GENES), reverse=True)}),
    }
    file.write_text(contents[kind])
    assert read_scbert(checkpoint, file, check_genes=False).genes.tolist() == GENES


def test_other_gene_lists_are_refused(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="29 names, and .* is of 30 genes"):
        read_scbert(checkpoint, GENES[:-1])
    with pytest.raises(ValueError, match="'G0' more than once"):
        read_scbert(checkpoint, [*GENES[:-1], "G0"])
    with pytest.raises(ValueError, match="not the list of scBERT's 16,906 genes"):
        read_scbert(checkpoint, GENES)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_scbert(checkpoint, tmp_path / "absent.txt")
    (tmp_path / "odd.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a list of genes"):
        read_scbert(checkpoint, tmp_path / "odd.json")
    with pytest.raises(ValueError, match="panel='all' is unknown"):
        read_scbert(checkpoint, GENES, panel="all")
    monkeypatch.setattr(_scbert, "PANEL_SHA256", hashlib.sha256("\n".join(GENES).encode()).hexdigest())
    assert read_scbert(checkpoint, GENES).genes.tolist() == GENES
    with pytest.raises(ValueError, match="in its order"):
        read_scbert(checkpoint, GENES[::-1])


@pytest.mark.slow
def test_a_file_of_full_size_goes_there_and_back(tmp_path):
    w = weights_of(16_906, 200, 10, 6, 266)
    genes = [f"G{number}" for number in range(16_906)]
    model = read_scbert(saved(tmp_path / "full.pth", w), genes, check_genes=False)
    assert repr(model) == "ScBert(6 layers, 16,906 genes, panel='full')"
    for name, value in model.weights.items():
        torch.testing.assert_close(value, w[name].float(), rtol=0, atol=0)
    state = next(model.states(cells(1, 50), model.places(genes[:50]), CPU, received=True))
    assert state.vectors.shape == (50, 200)
    assert torch.isfinite(state.vectors).all()
