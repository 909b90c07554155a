import dataclasses

import pandas as pd
import pytest

from scbignn.inspection import Finding, Report

OK = Finding("X", "ok", "integer counts")
NOTE = Finding("labels", "note", "word " * 40, "first line\nsecond line")
PROBLEM = Finding("genes", "problem", "bad names", "mend()")


def test_it_prints_as_a_table():
    assert str(Report(1200, 30, (OK, PROBLEM, NOTE))).splitlines() == [
        "1,200 cells x 30 genes: 1 problem and 1 note",
        "ok       X       integer counts",
        "PROBLEM  genes   bad names",
        "                 -> mend()",
        "note     labels  " + " ".join(["word"] * 16),
        "                 " + " ".join(["word"] * 16),
        "                 " + " ".join(["word"] * 8),
        "                 -> first line",
        "                    second line",
    ]


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ((), "nothing to mend"),
        ((OK,), "nothing to mend"),
        ((NOTE, NOTE), "2 notes"),
        ((PROBLEM, PROBLEM), "2 problems"),
    ],
)
def test_summary(findings, summary):
    report = Report(1, 1, findings)
    assert str(report).splitlines()[0] == f"1 cell x 1 gene: {summary}"
    assert repr(report) == str(report)
    assert not hasattr(report, "_repr_html_")


def test_ok_is_no_problem():
    assert Report(1, 1, (OK, NOTE)).ok
    assert not Report(1, 1, (OK, PROBLEM)).ok


def test_frame():
    expected = pd.DataFrame(
        {
            "what": ["X", "genes"],
            "level": ["ok", "problem"],
            "found": ["integer counts", "bad names"],
            "mend": ["", "mend()"],
        }
    )
    pd.testing.assert_frame_equal(Report(1, 1, (OK, PROBLEM)).to_frame(), expected, check_dtype=False)
    assert Report(1, 1, ()).to_frame().columns.tolist() == ["what", "level", "found", "mend"]


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OK.level = "problem"
