import pytest

from scbignn._keys import AnnotationKeys, column_names


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["B", "NK"], ["B", "NK"]),
        (["T/NK", "CD4+/CD25 T Reg"], ["T|NK", "CD4+|CD25 T Reg"]),
        (["T/NK", "T|NK"], ["T|NK|", "T|NK"]),
        (["T|NK", "T/NK"], ["T|NK", "T|NK|"]),
        (["a/b/c", "a|b/c", "a|b|c"], ["a|b|c|", "a|b|c||", "a|b|c"]),
        (["γδ T", "/"], ["γδ T", "|"]),
    ],
)
def test_column_names_are_writable_and_distinct(labels, expected):
    names = column_names(labels)
    assert names == expected
    assert len(set(names)) == len(labels)
    assert not any("/" in name for name in names)


def test_every_slot_carries_the_key_and_is_listed():
    keys = AnnotationKeys("mine")
    names = [name for below in keys.slots.values() for name in below]
    assert len(names) == 12
    assert len(set(names)) == 11  # the key itself names a slot in obs and one in uns
    assert all("mine" in name for name in names)
    properties = {name for name, value in vars(AnnotationKeys).items() if isinstance(value, property)} - {"slots"}
    assert {getattr(keys, name) for name in properties} | {keys.key} == set(names)
