"""The committed measurements: they say what the README claims, and a sample of them can be repeated."""

import json
from pathlib import Path

import pytest

from docs.studies.worlds import spot_check

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def results(name):
    return json.loads((RESULTS / f"{name}.json").read_text())["results"]


def comparison(cell, first, second):
    return next(c for c in cell["comparisons"] if (c["first"], c["second"]) == (first, second))


ROUNDS = results("rounds")
CURVES = results("best_of_n")
CELL = pytest.mark.parametrize("cell", ROUNDS, ids=lambda c: f"world {c['world']} seed {c['seed']}")
CURVE = pytest.mark.parametrize("curve", CURVES, ids=lambda c: f"world {c['world']}")


def test_three_worlds_and_three_seeds_were_measured():
    cells = {(cell["world"], cell["seed"]) for cell in ROUNDS}
    assert len(cells) == len(ROUNDS) >= 9 and len({world for world, _ in cells}) >= 3
    assert {curve["world"] for curve in CURVES} == {world for world, _ in cells}


@CELL
def test_best_of_16_beats_its_matched_random_control_by_ten_standard_errors(cell):
    assert comparison(cell, "best_of_n", "random")["gold"]["z"] >= 10


@CELL
def test_the_random_control_is_not_two_standard_errors_above_base(cell):
    assert comparison(cell, "random", "base")["gold"]["z"] <= 2


@CELL
def test_unsafe_compliance_at_least_halves(cell):
    arms = cell["arms"]
    assert arms["best_of_n"]["unsafe_compliance"] <= arms["base"]["unsafe_compliance"] / 2


@CURVE
def test_the_proxy_rises_with_n_all_the_way(curve):
    proxy = [row["proxy"]["mean"] for row in curve["biased"]["rows"]]
    assert curve["biased"]["rows"][-1]["n"] == 256 and proxy == sorted(proxy)


@CURVE
def test_gold_peaks_between_8_and_64_and_falls_by_256(curve):
    assert 8 <= curve["biased"]["peak_n"] <= 64
    assert curve["biased"]["rows"][-1]["below_peak"]["high"] < 0


@CURVE
def test_gold_does_not_fall_once_the_bias_is_switched_off(curve):
    below = curve["unbiased"]["rows"][-1]["below_peak"]
    assert curve["unbiased"]["peak_n"] == 256 or below["high"] >= 0


def test_a_sample_of_the_measurements_can_be_repeated():
    """On another processor single responses may differ: 640 responses leave room for 0.1 points, no more."""
    assert spot_check() == pytest.approx(results("spot_check"), abs=0.1)
