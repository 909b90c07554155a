import json
import math

import pytest

from scbignn.regulation import Config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_folds": 1}, "n_folds=1 must be an integer >= 2"),
        ({"n_repeats": 0}, "n_repeats=0"),
        ({"members": ()}, "members"),
        ({"members": ("forest",)}, "'ridge', 'slopes', 'trees', 'gnn'"),
        ({"members": "ridge"}, "a tuple"),
        ({"penalties": (0.0,)}, "penalties"),
        ({"penalties": (math.nan,)}, "penalties"),
        ({"dropout": 1.0}, "within"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"learning_rate": 0}, "above 0"),
        ({"offset": 1}, "True or False"),
        ({"width": 1}, "width"),
        ({"layer": "mean"}, "'sage', 'gcn', 'gat'"),
        ({"layer": "gat", "width": 30}, "a multiple of n_heads, 4"),
        ({"pooling": "max"}, "'attention', 'mean'"),
        ({"temperature": 0}, "above 0"),
        ({"hidden_share": 1.0}, "within"),
        ({"encoder_width": 30}, "a multiple of encoder_heads, 4"),
    ],
)
def test_values_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


def test_it_becomes_plain_values():
    assert json.loads(json.dumps(Config().to_dict()))["members"] == ["ridge", "slopes", "trees", "gnn"]


def test_the_papers_part_is_the_network_alone():
    config = Config.paper(n_epochs=3)
    assert (config.members, config.offset, config.n_epochs) == (("gnn",), False, 3)
