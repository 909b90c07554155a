import dataclasses
import json

import numpy as np
import pytest

from scbignn.clustering import Config


@pytest.mark.parametrize("config", [Config(), Config.paper(), Config(n_top_genes=np.int64(9), clip=np.float32(3))])
def test_survives_json(config):
    assert Config(**json.loads(json.dumps(config.to_dict()))) == config


def test_the_default_trains_no_network_and_the_paper_does():
    assert not Config().network
    paper = Config.paper(n_heads=1)
    assert (paper.network, paper.attention, paper.width, paper.batch_size, paper.n_heads) == (True, True, 512, 1000, 1)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"n_top_genes": 1}, "an integer >= 2"),
        ({"n_anchors": 2.0}, "an integer >= 1"),
        ({"n_anchor_sets": True}, "an integer >= 1"),
        ({"n_nearest": 9, "n_anchors": 8}, "at most n_anchors=8"),
        ({"n_tokens": 1}, "None or an integer >= 2"),
        ({"max_clusters": 1}, "an integer >= 2"),
        ({"clip": 0}, "above 0"),
        ({"clip": float("nan")}, "above 0"),
        ({"noise": -1}, "at least 0"),
        ({"dropout": 1.0}, r"within \[0, 1\)"),
        ({"tolerance": -0.1}, r"within \[0, 1\)"),
        ({"network": 1}, "True or False"),
        ({"network": True, "n_resamples": 5}, "0 with network=True"),
        ({"n_resamples": -1}, "an integer >= 0"),
        ({"n_partitions": 0}, "None or an integer >= 1"),
        ({"start": "truth"}, "'graph' or 'embedding'"),
        ({"commitment": "none"}, "'vq' or 'joint'"),
        ({"n_heads": 3}, "a divisor of width=128"),
        ({"batch_size": 1}, ">= 2"),
        ({"warm_up_epochs": -1}, ">= 0"),
    ],
)
def test_what_cannot_be_is_refused(changes, wanted):
    with pytest.raises(ValueError, match=rf"^Config: .*must be {wanted}|^Config: .*{wanted}"):
        Config(**changes)


def test_resamples_are_left_out_where_each_would_train_a_network():
    assert (Config().resamples, Config(n_resamples=0).resamples, Config(n_resamples=3).resamples) == (10, 0, 3)
    assert Config.paper().resamples == 0


def test_partitions_vote_where_no_network_moves_cells_on():
    assert (Config().partitions, Config(n_partitions=3).partitions, Config.paper().partitions) == (12, 3, 1)
    assert Config.paper(n_partitions=2).partitions == 2


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().clip = 1
