"""The records of answers in docs/results: each summary is what its rows say."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RECORDS = sorted(RESULTS.glob("answers_*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_of_answers_counts_its_rows(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    summary, rows = record["summary"], record["rows"]
    right, wrong = ([row for row in rows if row["right"] is kind] for kind in (True, False))
    assert (summary["right"], summary["wrong"]) == (len(right), len(wrong))
    for when in ("first", "now"):
        passing = sum(row[f"heard_{when}"]["check"] == "" for row in wrong)
        rejected = sum(row[f"as_meant_{when}"] is False for row in right)  # None: it was not put to the check
        assert summary[f"wrong_passing_{when}"] == passing
        assert summary[f"right_rejected_{when}"] == rejected
        share = sum(bool(row[f"as_meant_{when}"]) for row in wrong) / len(wrong)
        [said] = [value for key, value in summary.items() if key.endswith(f"wrong_as_meant_{when}")]
        assert said == pytest.approx(share, abs=6e-4)
