import dataclasses
import json
import math

import pytest

from scbignn.annotation import Config, _config


def test_paper_is_the_published_method():
    config = Config.paper()
    stated = {
        "n_top_genes": 1000,
        "gene_panel": "variance",
        "unit_rows": False,
        "anchor": False,
        "batch_norm": False,
        "cell_input": "genes",
        "mask_labels": 0,
        "graph_from": "h",
        "confidence_power": 0,
        "label_smoothing": 0,
        "target_sum": 1e6,
        "top_genes_from": "all",
        "width": 32,
        "n_layers": 1,
        "n_heads": 4,
        "read_out": "learned",
        "scale_attention": True,  # Eq. 4 in another unit of W_g
        "residual": False,
        "layer_norm": False,
        "dropout": 0,
        "n_neighbors": 5,
        "symmetric_graph": False,
        "n_cell_layers": 3,
        "n_rounds": 3,
        "pseudo_labels": "sample",
        "beta": 1,
    }
    assert {name: getattr(config, name) for name in stated} == stated


def test_paper_takes_changes():
    assert Config.paper(n_layers=2, n_heads=1) == dataclasses.replace(Config.paper(), n_layers=2, n_heads=1)


def test_paper_says_what_it_is_of_every_field_that_the_default_changes():
    changed = {name for name, value in Config().to_dict().items() if getattr(Config.paper(), name) != value}
    assert changed == {name for name, value in _config._PAPER.items() if getattr(Config(), name) != value}
    assert _config._PAPER.keys() <= Config().to_dict().keys()


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().width = 64


def test_dictionary_goes_through_json():
    config = Config(n_heads=1, width=7, beta=0.5)
    assert Config(**json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "name",
    [
        "n_top_genes",
        "gene_width",
        "width",
        "n_components",
        "n_heads",
        "n_neighbors",
        "n_cell_layers",
        "pretrain_epochs",
        "pretrain_updates",
        "e_step_epochs",
        "e_step_updates",
        "m_step_updates",
        "batch_size",
    ],
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None])
def test_counts(name, value):
    with pytest.raises(ValueError, match=rf"Config: {name}={value!r} must be an integer >= 1"):
        Config(**{name: value})


@pytest.mark.parametrize("name", ["n_layers", "n_rounds", "min_count", "anchor_refits", "few_labels"])
@pytest.mark.parametrize("value", [-1, 0.5])
def test_counts_that_may_be_zero(name, value):
    assert getattr(Config(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=rf"Config: {name}={value!r} must be an integer >= 0"):
        Config(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("target_sum", 0.0, "above 0"),
        ("target_sum", math.nan, "above 0"),
        ("gene_learning_rate", 0, "above 0"),
        ("e_step_learning_rate", 0.0, "above 0"),
        ("cell_learning_rate", -1e-3, "above 0"),
        ("patience", 0, "above 0"),
        ("beta", -0.1, "at least 0"),
        ("confidence_power", -1, "at least 0"),
        ("mask_labels", 1.0, "within"),
        ("label_smoothing", -0.1, "within"),
        ("gene_panel", "hvg", "'labels' or 'variance'"),
        ("cell_input", "h", "'components' or 'genes'"),
        ("graph_from", "pca", "'components' or 'h'"),
        ("gene_weight_decay", -1e-9, "at least 0"),
        ("dropout", 1.0, "within"),
        ("dropout", -0.1, "within"),
        ("validation_fraction", 1.0, "within"),
        ("validation_fraction", math.nan, "within"),
        ("top_genes_from", "train", "'all' or 'labeled'"),
        ("read_out", "max", "'value' or 'learned' or 'mean'"),
        ("pseudo_labels", "none", "'soft' or 'sample' or 'hard'"),
        ("e_step_weights", "", "'sums' or 'batches'"),
        ("n_heads", 3, "a divisor of width=32"),
        ("batch_size", 2, ">= 3 with batch_norm=True"),
    ],
)
def test_values_out_of_range(name, value, wanted):
    with pytest.raises(ValueError, match=rf"Config: {name}=.* must be .*{wanted}"):
        Config(**{"width": 32, name: value})


@pytest.mark.parametrize(
    "changes", [{"beta": 0}, {"dropout": 0.0}, {"validation_fraction": 0}, {"cell_weight_decay": 0}]
)
def test_limits_that_are_allowed(changes):
    assert Config(**changes).to_dict().items() >= changes.items()
