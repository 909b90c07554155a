"""What all tests of plots share."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_show(monkeypatch):
    """A plot that calls show fails; no test leaves a figure behind."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("plt.show was called"))
    plt.close("all")
    yield
    plt.close("all")
