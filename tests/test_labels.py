import numpy as np
import pytest

from scbignn._labels import label_text, palette_texts


@pytest.mark.parametrize(
    ("value", "text"), [("T/NK", "T/NK"), (1.0, "1"), (np.float64(2), "2"), (1.5, "1.5"), (3, "3"), (True, "True")]
)
def test_a_label_as_text(value, text):
    assert label_text(value) == text


@pytest.mark.parametrize(
    ("palette", "texts"),
    [
        (["red", "#00ff00"], ["red", "#00ff00"]),
        (np.array(["red", "C1"]), ["red", "C1"]),
        ([(0.5, 0.2, 0.9), (0, 0, 0)], ["#8033e6", "#000000"]),
        (np.array([[0.5, 0.2, 0.9], [0, 0, 0]]), ["#8033e6", "#000000"]),
        ([(0.5, 0.2, 0.9, 0.5), (0, 0, 0, 1.0)], ["#8033e680", "#000000ff"]),
    ],
)
def test_colours_are_strings_that_others_read(palette, texts):
    found = palette_texts(palette, 2)
    assert found == texts
    assert {type(color) for color in found} <= {str, np.str_}


@pytest.mark.parametrize(
    "palette", [None, "red", ["red"], ["red", "no colour"], [(0.1, 0.2), (0.1, 0.2)], [None, "red"]]
)
def test_what_is_no_palette(palette):
    assert palette_texts(palette, 2) is None
