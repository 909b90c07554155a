import dataclasses
import json

import numpy as np
import pytest

from scbignn._fields import fields_for_json, is_count, is_number


@pytest.mark.parametrize(
    ("value", "count", "number"),
    [(3, True, True), (np.int64(2), True, True), (1, False, True), (2.5, False, True), (np.float32(4), False, True)]
    + [(True, False, False), ("3", False, False), (None, False, False), (np.nan, False, False), (np.inf, False, False)],
)
def test_numbers(value, count, number):
    assert (is_count(value, 2), is_number(value)) == (count, number)


def test_fields_for_json():
    @dataclasses.dataclass
    class Config:
        a: int = np.int64(3)
        b: tuple = (1.0, "x")
        c: None = None

    assert json.loads(json.dumps(fields_for_json(Config()))) == {"a": 3, "b": [1.0, "x"], "c": None}
