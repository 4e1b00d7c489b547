"""The committed signatures: complete, judged as they say, shown as they are, measured again on a sample."""

import json
import math

import pytest

from docs.studies import results, signatures
from rslib.flaws import FLAWS

CONTENT = results.read("signatures")
ROWS = signatures.ordered(CONTENT["rows"])


def test_every_flaw_and_both_healthy_runs_have_rows_of_five_seeds():
    assert len(FLAWS) >= 20 and set(ROWS) == {*FLAWS, *signatures.HEALTHY_ROWS}
    seeds = {str(seed) for seed in (*signatures.MATRIX_SEEDS, *signatures.HELDOUT_SEEDS)}
    assert len(signatures.MATRIX_SEEDS) >= 3
    assert not set(signatures.MATRIX_SEEDS) & set(signatures.HELDOUT_SEEDS)
    assert all(set(by_seed) == seeds for by_seed in ROWS.values())


def test_all_rows_have_the_same_columns_and_a_missing_number_is_none():
    columns = {frozenset(row) for by_seed in ROWS.values() for row in by_seed.values()}
    assert len(columns) == 1
    values = [value for by_seed in ROWS.values() for row in by_seed.values() for value in row.values()]
    assert all(value is None or math.isfinite(value) for value in values)


def test_the_classifier_judged_again_gives_what_is_stored():
    for name, columns in signatures.column_sets(ROWS).items():
        found = json.loads(json.dumps(signatures.classifier(ROWS, columns)))
        assert found == CONTENT["classifiers"][name]


def test_the_page_is_made_from_the_results():
    page = signatures.PAGE.read_text(encoding="utf-8")
    assert page == signatures.written(page, CONTENT), "run make signatures"


@pytest.mark.long
def test_a_row_measured_again_is_the_stored_one(tmp_path):
    """The cheapest flaw, seed 0. Seeds fix every draw, so only other rounding may move a number."""
    found = signatures.signature("n1", 0, tmp_path)
    stored = ROWS["n1"]["0"]
    assert found.keys() == stored.keys()
    assert {k for k in found if found[k] is None} == {k for k in stored if stored[k] is None}
    known = {k: value for k, value in stored.items() if value is not None}
    assert {k: found[k] for k in known} == pytest.approx(known, rel=1e-3, abs=1e-3)
