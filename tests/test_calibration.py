"""Thresholds come from measured values, and the committed ones keep their promise."""

import json

import numpy as np
import pytest

from autograder import calibrate, calibration
from rslib.errors import ConfigError

STORED = json.loads(calibration.FILE.read_text()) if calibration.FILE.exists() else {"exercises": {}}
ENTRIES = [(e, s) for e, found in STORED["exercises"].items() for s in found]


@pytest.mark.parametrize(("t", "dof", "tail"), [(1.812, 10, 0.05), (3.659, 29, 0.0005), (4.144, 10, 0.001)])
def test_the_tail_of_students_t_agrees_with_the_printed_tables(t, dof, tail):
    assert calibration.t_tail(t, dof) == pytest.approx(tail, rel=0.01)


def test_the_chance_below_agrees_with_a_simulation():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200_000, 6))
    limit = values[:, :5].mean(axis=1) - 2 * values[:, :5].std(axis=1, ddof=1)
    simulated = float((values[:, 5] < limit).mean())  # standard error below 7e-4
    assert calibration.chance_below([0, 1, 2, 3, 4], 2 - 2 * np.std(range(5), ddof=1)) == pytest.approx(
        simulated, abs=5e-3
    )


def test_the_threshold_lies_between_the_arms_and_shares_the_risk():
    rng = np.random.default_rng(1)
    arms = {"honest": rng.normal(10, 1, 30), "do_nothing": np.zeros(30), "random": rng.normal(0, 1, 30)}
    limit = calibration.best_threshold(arms)
    risks = calibration.risks(arms, limit)
    assert 0 < limit < 10 and risks["honest"] < 1e-3 and risks["random"] < 1e-4 and risks["do_nothing"] == 0


def test_a_missing_threshold_is_a_typed_error():
    with pytest.raises(ConfigError, match="no calibrated threshold"):
        calibration.threshold("9.9", "nothing")


def test_measuring_keeps_finished_seeds_and_writes_after_each(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "FILE", tmp_path / "calibration.json")
    asked = []

    def experiment(seed, folder):
        asked.append(seed)
        return {"gain": {"honest": 5 + seed / 10, "do_nothing": 0.0, "random": seed / 10}}

    calibrate.measure("9.1", experiment, 3)
    calibrate.measure("9.1", experiment, 5)
    entry = json.loads((tmp_path / "calibration.json").read_text())["exercises"]["9.1"]["gain"]
    assert asked == [0, 1, 2, 3, 4] and set(entry["arms"]["honest"]) == set("01234")
    assert 0.4 < entry["threshold"] < 5 and "9.1" in calibrate.table(calibrate.read())


@pytest.mark.parametrize(("exercise", "statistic"), ENTRIES)
def test_thirty_seeds_stand_behind_every_committed_threshold(exercise, statistic):
    arms = STORED["exercises"][exercise][statistic]["arms"]
    assert all(len(values) >= 30 for values in arms.values())


@pytest.mark.parametrize(("exercise", "statistic"), ENTRIES)
def test_committed_thresholds_follow_from_the_committed_values(exercise, statistic):
    entry = STORED["exercises"][exercise][statistic]
    arms = {name: list(values.values()) for name, values in entry["arms"].items()}
    assert entry["threshold"] == calibration.best_threshold(arms)


@pytest.mark.parametrize(("exercise", "statistic"), ENTRIES)
def test_honest_work_fails_and_idle_work_passes_as_rarely_as_promised(exercise, statistic):
    entry = STORED["exercises"][exercise][statistic]
    arms = {name: list(values.values()) for name, values in entry["arms"].items()}
    risks = calibration.risks(arms, entry["threshold"])
    assert risks.pop("honest") <= calibration.HONEST_FAILS
    assert all(risk <= calibration.OTHERS_PASS for risk in risks.values()), risks


@pytest.mark.long
@pytest.mark.parametrize("exercise", ["3.3", "4.5"])
def test_a_sample_of_the_calibration_can_be_measured_again(exercise, tmp_path):
    """Seed 0 gives what was stored. On another processor single responses differ: a quarter is allowed."""
    again = calibrate.all_experiments()[exercise](0, tmp_path)
    for statistic, arms in again.items():
        entry = STORED["exercises"][exercise][statistic]
        allowed = abs(entry["threshold"]) / 4
        assert {a: v["0"] for a, v in entry["arms"].items()} == pytest.approx(arms, abs=allowed), statistic
        assert arms["honest"] >= entry["threshold"] > max(v for a, v in arms.items() if a != "honest")
