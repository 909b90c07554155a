import numpy as np
import pytest
from matplotlib.path import Path
from scipy.ndimage import label

from scbignn.pl._venn_shapes import outlines, regions


@pytest.mark.parametrize("n_sets", [2, 3, 4, 5, 6])
def test_every_combination_has_one_region_in_one_piece(n_sets):
    """The very definition of a Venn diagram, on a raster of its own."""
    places = np.linspace(-1.02, 1.02, 601)
    x, y = np.meshgrid(places, places)
    inside = [Path(curve[::3]).contains_points(np.column_stack([x.ravel(), y.ravel()])) for curve in outlines(n_sets)]
    code = sum(part.astype(int) << place for place, part in enumerate(inside)).reshape(x.shape)
    for number in range(1 << n_sets):
        pieces, n_pieces = label(code == number)
        sizes = np.bincount(pieces.ravel())[1:]
        assert n_pieces >= 1, f"no region {number:0{n_sets}b}"
        assert np.sum(sizes > 10) == 1, f"region {number:0{n_sets}b} has pieces of {sizes} places"


@pytest.mark.parametrize("n_sets", [2, 3, 4, 5, 6])
def test_numbers_stand_where_they_belong(n_sets):
    found = regions(n_sets)
    assert len(found) == 2**n_sets - 1
    for member, place in found.items():
        for curve, is_in in zip(outlines(n_sets), member, strict=True):
            assert Path(curve).contains_point((place.x, place.y)) == is_in
            # and the circle around it crosses no outline
            assert np.linalg.norm(curve - (place.x, place.y), axis=1).min() > place.radius - 0.012


@pytest.mark.parametrize(("n_sets", "points"), [(2, 9), (3, 9), (4, 8), (5, 5), (6, 5)])
def test_the_smallest_region_has_room_for_a_number(n_sets, points):
    """In a figure of one column (3.4 inches, 90 % of it for the diagram), a circle as wide as a figure is high."""
    inches = 3.4 * 0.9 * min(place.radius for place in regions(n_sets).values())  # diameter: the diagram is 2 wide
    assert 72 * inches > points


@pytest.mark.parametrize("n_sets", [2, 3, 4, 5, 6])
def test_the_diagram_fills_its_square(n_sets):
    points = np.vstack(outlines(n_sets))
    assert np.abs(points).max() == pytest.approx(1)
    assert all(np.allclose(curve[0], curve[-1]) for curve in outlines(n_sets))
