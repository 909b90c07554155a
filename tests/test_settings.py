import doctest

import pytest

from scbignn import _settings, settings


def test_override_restores_also_after_an_error():
    before = vars(settings).copy()

    def fails():
        with settings.override(device="cpu", backend="torch"):
            assert (settings.device, settings.backend) == ("cpu", "torch")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fails()
    assert vars(settings) == before


def test_overrides_nest():
    with settings.override(backend="torch"):
        with settings.override(backend="dgl"):
            assert settings.backend == "dgl"
        assert settings.backend == "torch"


def test_a_misspelt_field_is_refused():
    with pytest.raises(AttributeError, match=r"no field 'devise'.*device, backend, progress and data_folder"):
        settings.devise = "cpu"
    with pytest.raises(AttributeError, match="devise"), settings.override(devise="cpu"):
        pass


def test_a_misspelt_override_changes_nothing():
    before = vars(settings).copy()
    with pytest.raises(AttributeError), settings.override(backend="torch", devise="cpu"):
        pass
    assert vars(settings) == before


def test_example_in_the_docstring():
    found = doctest.testmod(_settings)
    assert found.attempted > 0
    assert found.failed == 0
