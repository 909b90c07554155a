"""Whatever is wrong with arguments or data, the message says what was found and how to mend it."""

import traceback
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scbignn
from scbignn.annotation import Config

PACKAGE = Path(scbignn.__file__).parent
LABELLING = ("annotate", "fit")
BOTH = ("annotate", "predict")
ALL = ("annotate", "fit", "predict")


@pytest.fixture(scope="session")
def model(fast):
    return scbignn.tl.fit(scbignn.datasets.simulated(n_cells=75, n_genes=40, rng=0), "truth", config=fast)


def call(function, adata, model, config, arguments):
    if function == "predict":
        return scbignn.tl.predict(adata, **({"model": model} | arguments))
    return getattr(scbignn.tl, function)(adata, **({"labels_key": "cell_type", "config": config} | arguments))


def refused(error, fragments, do):
    """`do` raises the error from this package, with a message that holds the fragments."""
    with pytest.raises(error) as caught:
        do()
    assert type(caught.value) is error
    last = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert last.is_relative_to(PACKAGE), f"raised in {last}"
    message = str(caught.value.args[0])
    assert [fragment for fragment in fragments if fragment not in message] == []


# --- arguments ------------------------------------------------------------------------------------------------------

ONE_OF = ['"transductive"', '"inductive"']
NO_SEED = ["Pass a seed, such as rng=0", "numpy.random.Generator"]
ARGUMENTS = {
    "seed is text": (ALL, {"rng": "seed"}, TypeError, ["rng is 'seed'", *NO_SEED]),
    "seed is negative": (ALL, {"rng": -1}, ValueError, ["rng=-1 must be non-negative", "rng=0"]),
    "seed is a float": (ALL, {"rng": 1.5}, TypeError, ["rng is 1.5", *NO_SEED]),
    "seed is a bool": (ALL, {"rng": True}, TypeError, ["rng is True", *NO_SEED]),
    "old generator": (ALL, {"rng": np.random.RandomState(0)}, TypeError, ["RandomState", *NO_SEED]),
    "layer is a list": (ALL, {"layer": ["counts"]}, TypeError, ["layer is a list, ['counts']", "Pass one name"]),
    "layer is a number": (ALL, {"layer": 3}, KeyError, ["adata.layers has no 3", "'other'", "layer=None"]),
    "symbols are a list": (
        ("fit", "predict"),
        {"gene_symbols": ["a"]},
        TypeError,
        ["gene_symbols is a list", "one name"],
    ),
    "symbols are nowhere": (
        ("fit", "predict"),
        {"gene_symbols": "symbol"},
        KeyError,
        ["adata.var has no column 'symbol'", "'marker_of'", "gene_symbols"],
    ),
    "labels_key is a list": (LABELLING, {"labels_key": ["cell_type"]}, TypeError, ["labels_key is a list", "one name"]),
    "labels_key is None": (LABELLING, {"labels_key": None}, KeyError, ["has no column None", "'cell_type'"]),
    "labels_key is missing": (LABELLING, {"labels_key": "celltype"}, KeyError, ["'celltype'", "'cell_type'"]),
    "labels are measurements": (LABELLING, {"labels_key": "depth"}, ValueError, ["different numbers", "labels_key"]),
    "unlabeled_category is a list": (LABELLING, {"unlabeled_category": ["?"]}, TypeError, ["['?']", '"Unknown"']),
    "device is None": (ALL, {"device": None}, ValueError, ["device='None' cannot be used", '"cpu"']),
    "device is a list": (ALL, {"device": ["cpu"]}, ValueError, ["cannot be used", 'device="auto"']),
    "device is unknown": (ALL, {"device": "gpu"}, ValueError, ["device='gpu' cannot be used", '"cpu"']),
    "device is not there": (ALL, {"device": "cuda:99"}, ValueError, ["device='cuda:99' cannot be used", '"cpu"']),
    "backend is a list": (ALL, {"backend": ["dgl"]}, ValueError, ["backend=['dgl'] is unknown", '"torch"']),
    "backend is None": (ALL, {"backend": None}, ValueError, ["backend=None is unknown", '"torch"']),
    "mode is unknown": (BOTH, {"mode": "induct"}, ValueError, ["mode='induct' is unknown", *ONE_OF]),
    "mode is None": (BOTH, {"mode": None}, ValueError, ["mode=None is unknown", *ONE_OF]),
    "mode is a list": (BOTH, {"mode": ["inductive"]}, ValueError, ["mode=['inductive'] is unknown", *ONE_OF]),
    "overlap is text": (("predict",), {"min_gene_overlap": "half"}, ValueError, ["='half'", "from 0 to 1", "0.5"]),
    "overlap is None": (("predict",), {"min_gene_overlap": None}, ValueError, ["=None", "from 0 to 1", "0.5"]),
    "overlap is NaN": (("predict",), {"min_gene_overlap": np.nan}, ValueError, ["=nan", "from 0 to 1", "0.5"]),
    "overlap in per cent": (("predict",), {"min_gene_overlap": 50}, ValueError, ["=50", "from 0 to 1", "0.5"]),
    "no cells a chunk": (("predict",), {"chunk_size": 0}, ValueError, ["chunk_size=0", "at least 1", "4096"]),
    "part of a cell a chunk": (("predict",), {"chunk_size": 0.5}, ValueError, ["chunk_size=0.5", "integer", "4096"]),
    "model is None": (("predict",), {"model": None}, TypeError, ["model is a NoneType", "scbignn.read_model"]),
    "model is a path": (("predict",), {"model": "folder"}, TypeError, ["model is a str", "scbignn.read_model"]),
    "model is a config": (("predict",), {"model": Config()}, TypeError, ["model is a Config", "scbignn.tl.fit"]),
    "config is a dict": (LABELLING, {"config": {"width": 8}}, TypeError, ["config is a dict", "Config(n_rounds=2)"]),
    "config is another method's": (
        LABELLING,
        {"config": scbignn.clustering.Config()},
        TypeError,
        ["config is a scbignn.clustering.Config. Pass a scbignn.annotation.Config, such as Config(n_rounds=2)."],
    ),
    "config is a class": (LABELLING, {"config": Config}, TypeError, ["config is a type", "Config(n_rounds=2)"]),
    "neighbours are text": (LABELLING, {"n_neighbors": "5"}, ValueError, ["n_neighbors='5'", "integer >= 1"]),
    "all cells are neighbours": (LABELLING, {"n_neighbors": 60}, ValueError, ["too large for 60 cells", "59"]),
    "genes are NaN": (LABELLING, {"n_top_genes": np.nan}, ValueError, ["n_top_genes=nan", "integer >= 1"]),
    "genes are a bool": (LABELLING, {"n_top_genes": True}, ValueError, ["n_top_genes=True", "integer >= 1"]),
    "checkpoint is a number": (
        LABELLING,
        {"checkpoint_dir": 3},
        TypeError,
        ["checkpoint_dir is 3", "name of a folder"],
    ),
    "checkpoint is bytes": (LABELLING, {"checkpoint_dir": b"run"}, TypeError, ["checkpoint_dir is b'run'", "a folder"]),
    "checkpoint is a file": (LABELLING, {"checkpoint_dir": "file"}, ValueError, ["'file' is a file", "another folder"]),
    "checkpoint is a link to nothing": (
        LABELLING,
        {"checkpoint_dir": "link"},
        ValueError,
        ["'link' is a link to nowhere, which is not there", "another folder"],
    ),
    "checkpoint within a file": (
        LABELLING,
        {"checkpoint_dir": "file/run"},
        ValueError,
        ["'file/run' would lie in a file", "another folder"],
    ),
    "batches are a list": (LABELLING, {"batch_key": ["batch"]}, TypeError, ["batch_key is a list", "one name"]),
    "batches are nowhere": (LABELLING, {"batch_key": "donor"}, KeyError, ["no column 'donor'", "'batch'", "batch_key"]),
    "batches are names": (LABELLING, {"batch_key": "depth"}, ValueError, ["60 different values on 60", "batch_key"]),
    "cells without batch": (LABELLING, {"batch_key": "score"}, ValueError, ["9 cells without a batch", '"missing"']),
    "reserved key": (BOTH, {"key_added": "_index"}, ValueError, ["key_added='_index'", 'key_added="scbignn"']),
    "key of dots": (BOTH, {"key_added": ".."}, ValueError, ["key_added='..'", 'key_added="scbignn"']),
    "key with a null": (BOTH, {"key_added": "a\0b"}, ValueError, ["key_added='a\\x00b'", 'key_added="scbignn"']),
    "key with a slash": (BOTH, {"key_added": "T/NK"}, ValueError, ["key_added='T/NK'", 'without "/"']),
    "key is None": (BOTH, {"key_added": None}, ValueError, ["key_added=None", 'key_added="scbignn"']),
    "key of a column": (BOTH, {"key_added": "batch"}, ValueError, ["overwrite adata.obs['batch']", "another name"]),
    "key of X_pca": (BOTH, {"key_added": "pca"}, ValueError, ["overwrite adata.obsm['X_pca']", "pca_predicted"]),
    "key of neighbors": (BOTH, {"key_added": "neighbors"}, ValueError, ["overwrite adata.uns['neighbors']"]),
    "reference is a path": (
        ("annotate",),
        {"reference": "ref.h5ad"},
        TypeError,
        ["reference is a str, not an AnnData"],
    ),
    "reference is a model": (("annotate",), {"reference": Config()}, TypeError, ["reference is a Config, not an"]),
}


@pytest.mark.parametrize(
    ("case", "function"), [(case, function) for case, (functions, *_) in ARGUMENTS.items() for function in functions]
)
def test_bad_arguments(furnished, fast, model, contents, tmp_path, monkeypatch, case, function):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    _, arguments, error, fragments = ARGUMENTS[case]
    furnished.obs["depth"] = np.linspace(0.1, 9, 60)
    before = contents(furnished)
    refused(error, fragments, lambda: call(function, furnished, model, fast, arguments))
    assert contents(furnished) == before
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


# --- data -----------------------------------------------------------------------------------------------------------


def with_x(change):
    def apply(adata):
        x = adata.X.toarray()
        changed = change(x)
        adata.X = sp.csr_matrix(x) if changed is None else changed
        return adata

    return apply


def put(value):
    return with_x(lambda x: x.__setitem__((7, 3), value))


def twins(names):
    def apply(adata):
        values = getattr(adata, names)
        setattr(adata, names, ["twin", "twin", *values[2:]])
        return adata

    return apply


def no_x(adata):
    adata.X = None
    return adata


def three_axes(adata):
    adata.layers["bad"] = np.ones((*adata.shape, 2))
    return adata


def backed(adata):
    adata.write_h5ad("backed.h5ad")
    return anndata.read_h5ad("backed.h5ad", backed="r")


def two_columns(adata):
    adata.obs = pd.concat([adata.obs, adata.obs[["cell_type"]]], axis=1)
    return adata


def labels(*values):
    def apply(adata):
        adata.obs["cell_type"] = [values[number % len(values)] for number in range(adata.n_obs)]
        return adata

    return apply


def mice(adata):
    adata.var_names = [f"ENSMUSG{number:011d}" for number in range(40)]
    return adata


def other_case(adata):
    adata.var_names = adata.var_names.str.upper()
    return adata


NUMBERS = "Turn it into such: adata.X = adata.X."
DATA = {
    "no cells": (ALL, lambda adata: adata[:0].copy(), {}, ValueError, ["adata has no cells", "(0, 40)"]),
    "no genes": (ALL, lambda adata: adata[:, :0].copy(), {}, ValueError, ["adata has no genes", "(60, 0)"]),
    "no X": (ALL, no_x, {}, ValueError, ["adata.X is empty", "layer"]),
    "text in X": (ALL, with_x(lambda x: np.full(x.shape, "a")), {}, TypeError, ["holds values of the type str", NUMBERS]),
    "objects in X": (ALL, with_x(lambda x: x.astype(object)), {}, TypeError, ["the type object", NUMBERS]),
    "complex X": (ALL, with_x(lambda x: x.astype(complex)), {}, TypeError, ["the type complex128", NUMBERS]),
    "masked X": (ALL, with_x(lambda x: np.ma.masked_equal(x, 0)), {}, TypeError, ["is masked", "filled(0)"]),
    "three axes": (ALL, three_axes, {"layer": "bad"}, ValueError, ["layers['bad'] has 3 axes", "cells x genes"]),
    "NaN": (ALL, put(np.nan), {}, ValueError, ["1 NaN or infinite", "cell 'cell_7', gene 'gene_3'", "layer="]),
    "infinity": (ALL, put(np.inf), {}, ValueError, ["inf in cell 'cell_7', gene 'gene_3'", "layer="]),
    "too large": (ALL, with_x(lambda x: x.astype(np.float64) * 1e39), {}, ValueError, ["NaN or infinite", "layer="]),
    "negative": (ALL, put(-1), {}, ValueError, ["1 negative values", "adata.raw.to_adata()", "layer="]),
    "scaled": (ALL, with_x(lambda x: (x - x.mean(0)) / (x.std(0) + 1)), {}, ValueError, ["negative", "scaled"]),
    "random numbers": (
        ALL,
        with_x(lambda x: np.random.default_rng(0).random(x.shape)),
        {},
        ValueError,
        ["look log-transformed", 'adata.uns["log1p"]'],
    ),
    "cells of one name": (ALL, twins("obs_names"), {}, ValueError, ["'twin'", "adata.obs_names_make_unique()"]),
    "genes of one name": (ALL, twins("var_names"), {}, ValueError, ["'twin'", "adata.var_names_make_unique()"]),
    "copy of a file": (("annotate", "predict"), backed, {"copy": True}, ValueError, ["copy=True", "adata.to_memory()"]),
    "view of a file": (
        ("annotate", "predict"),
        lambda adata: backed(adata)[:30],
        {},
        ValueError,
        ["a view, which takes no new slots", "adata.to_memory()"],
    ),
    "two label columns": (LABELLING, two_columns, {}, ValueError, ["2 columns named 'cell_type'", "Rename all but one"]),
    "one label": (LABELLING, labels("B", "Unknown"), {}, ValueError, ["single label, 'B'", "at least two types"]),
    "no label": (LABELLING, labels("Unknown", None), {}, ValueError, ["no cell has a label", "labels_key"]),
    "all labelled": (("annotate",), labels("A", "B"), {}, ValueError, ["every cell has a label", "hide some"]),
    "all labelled, some as without": (
        ("annotate",),
        labels("A", "B", "unassigned"),
        {},
        ValueError,
        ["every cell has a label", "or pass unlabeled_category='unassigned', which some have"],
    ),
    "fewer cells than neighbours": (
        LABELLING,
        lambda adata: adata[:4].copy(),
        {},
        ValueError,
        ["n_neighbors=5 is too large for 4 cells", "at most 3"],
    ),
    "genes of another kind": (
        ("predict",),
        mice,
        {},
        ValueError,
        ["only 0 of the 40 genes of the model", "adata has mouse Ensembl ids", "gene_symbols="],
    ),
    "genes in another case": (
        ("predict",),
        other_case,
        {},
        ValueError,
        ["only 0 of the 40", "100% are found with", "name.upper()"],
    ),
    "too few genes": (("predict",), lambda adata: adata[:, :10].copy(), {}, ValueError, ["only 10 of the 40 genes", "25.0%"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.* names are not unique:UserWarning")
@pytest.mark.parametrize(
    ("case", "function"), [(case, function) for case, (functions, *_) in DATA.items() for function in functions]
)
def test_bad_data(furnished, fast, model, contents, tmp_path, monkeypatch, case, function):
    monkeypatch.chdir(tmp_path)
    _, change, arguments, error, fragments = DATA[case]
    if case in {"no cells", "no genes", "genes of another kind", "genes in another case"}:
        furnished.raw = None
    adata = change(furnished)
    before = contents(furnished) if adata.isbacked else contents(adata)
    refused(error, fragments, lambda: call(function, adata, model, fast, arguments))
    if adata.isbacked:
        assert "scbignn" not in adata.obs
        adata.file.close()
    else:
        assert contents(adata) == before


@pytest.mark.parametrize("other", [None, "file.h5ad", Path("file.h5ad"), np.ones((3, 2)), pd.DataFrame({"a": [1]}), {}])
@pytest.mark.parametrize("function", ALL)
def test_only_anndata(fast, model, function, other):
    name = type(other).__name__
    refused(TypeError, [f"adata is a {name}, not an AnnData"], lambda: call(function, other, model, fast, {}))


# --- the reference --------------------------------------------------------------------------------------------------

REFERENCES = {
    "no cells": (lambda adata: adata[:0].copy(), ValueError, ["reference has no cells"]),
    "NaN": (put(np.nan), ValueError, ["reference.X holds 1 NaN", "cell 'cell_7'"]),
    "no X": (no_x, ValueError, ["reference.X is empty"]),
    "cells of one name": (twins("obs_names"), ValueError, ["'twin'", "reference.obs_names_make_unique()"]),
    "one label": (labels("B"), ValueError, ["reference.obs['cell_type'] holds a single label, 'B'"]),
    "no label": (labels("Unknown"), ValueError, ["no cell has a label in reference.obs['cell_type']"]),
    "no label column": (lambda adata: adata, KeyError, ["reference.obs has no column 'type'"]),
    "on disk": (backed, ValueError, ["reference is backed", "reference = reference.to_memory()"]),
    "genes of another kind": (mice, ValueError, ["only 0 of the 40 genes of the model"]),
}


@pytest.mark.filterwarnings("ignore:.* names are not unique:UserWarning")
@pytest.mark.parametrize("case", REFERENCES)
def test_messages_about_the_reference_name_it(furnished, fast, contents, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    change, error, fragments = REFERENCES[case]
    reference = change(scbignn.datasets.simulated(n_cells=75, n_genes=40, rng=0))
    before = contents(furnished)
    key = "type" if case == "no label column" else "cell_type"
    refused(error, fragments, lambda: scbignn.tl.annotate(furnished, key, reference=reference, config=fast))
    assert contents(furnished) == before


def test_gene_symbols_that_neither_has(furnished, fast):
    refused(
        KeyError,
        ["adata.var has no column 'symbol'", "gene_symbols"],
        lambda: scbignn.tl.annotate(furnished, "truth", reference=furnished, gene_symbols="symbol", config=fast),
    )


# --- configurations and models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": "a"}, "dropout='a' must be a number within"),
        ({"dropout": None}, "dropout=None must be a number within"),
        ({"target_sum": "1e4"}, "target_sum='1e4' must be None or a number above 0"),
        ({"target_sum": np.inf}, "target_sum=inf must be None or a number above 0"),
        ({"patience": np.inf}, "patience=inf must be a number above 0"),
        ({"gene_learning_rate": np.nan}, "gene_learning_rate=nan must be a number above 0"),
        ({"beta": "1"}, "beta='1' must be a number of at least 0"),
        ({"label_smoothing": True}, "label_smoothing=True must be a number within"),
        ({"anchor": "yes"}, "anchor='yes' must be True or False"),
        ({"unit_rows": None}, "unit_rows=None must be True or False"),
        ({"batch_norm": 1}, "batch_norm=1 must be True or False"),
        ({"width": np.nan}, "width=nan must be an integer >= 1"),
        ({"n_layers": "1"}, "n_layers='1' must be an integer >= 0"),
        ({"read_out": ["value"]}, r"read_out=\['value'\] must be 'value' or"),
    ],
)
def test_bad_configuration(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


def test_numbers_of_numpy_are_numbers():
    config = Config(dropout=np.float32(0.25), beta=np.float64(2), n_layers=np.int64(1), anchor=np.bool_(False))
    assert config.to_dict()["anchor"] is False
    assert config.to_dict()["dropout"] == 0.25


@pytest.mark.parametrize("path", [None, 5, b"model", ["model"]])
def test_paths_of_models(model, path):
    for do in (lambda: scbignn.read_model(path), lambda: model.save(path)):
        refused(TypeError, [f"path is {path!r}", "name of a folder"], do)


def test_models_that_are_not_there(model, tmp_path):
    wrote = "Pass the folder that model.save(path) wrote"
    refused(FileNotFoundError, ["there is no", wrote], lambda: scbignn.read_model(tmp_path / "nowhere"))
    refused(ValueError, ["is not a model of scbignn", wrote], lambda: scbignn.read_model(tmp_path))
    refused(FileExistsError, ["is no saved model"], lambda: model.save(tmp_path))
    refused(FileExistsError, ["is no saved model"], lambda: model.save(tmp_path, overwrite=True))
