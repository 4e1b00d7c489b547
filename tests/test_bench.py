"""The benchmark: it runs, results agree before anything is timed, ratios are what they say."""

import json

import numpy as np
import pytest

from docs.studies.bench import works as bench_works
from docs.studies.bench.__main__ import main
from docs.studies.bench.measuring import Measured, Way, Work, measure, merge_results, render
from docs.studies.bench.works import (
    WORKS,
    Rows,
    Size,
    engine_rows,
    generate_rows,
    random_model,
    sampling_work,
    scoring_work,
)
from rslib.errors import ConfigError, ModelError, StoreError

NOTHING = Way("ours", lambda: None)
SMALL = Size("0.1 M", prompts=6, n=4, prompt=24, new=12)


def fake_clock(*durations):
    """Seconds that pass between each pair of readings."""
    times = np.concatenate([[at, at + took] for at, took in zip(range(0, 1000, 10), durations, strict=False)])
    return iter(times.tolist()).__next__


def test_a_ratio_is_the_median_of_the_rounds_with_its_range():
    work = Work("W", "case", NOTHING, [Way("slow", lambda: None, target=2.0)])
    (found,) = measure(work, 3, fake_clock(9, 9, 1, 4, 2, 12, 1, 3))
    assert (found.ratio, found.low, found.high) == (4.0, 3.0, 6.0)
    assert found.ours_seconds == [1, 2, 1] and found.peer_seconds == [4, 12, 3]


def test_preparation_is_not_timed():
    said = []
    clock = fake_clock(1, 1, 1, 1)
    way = Way("ours", lambda x: said.append(x), prepare=lambda: (clock(),))
    assert way.seconds(lambda: said.append("clock") or 0.0) == 0 and said == ["clock", 0.0, "clock"]


def test_ours_and_the_peers_take_turns_after_a_check_and_a_warm_up():
    said = []
    ours, *peers = (Way(name, lambda name=name: said.append(name)) for name in ("ours", "a", "b"))
    measure(Work("W", "c", ours, peers, lambda: said.append("check")), 2)
    assert said == ["check"] + ["ours", "a", "b"] * 3


def test_a_failed_check_stops_the_measurement():
    def check():
        raise ModelError("the rewards differ")

    with pytest.raises(ModelError, match="differ"):
        measure(Work("W", "c", NOTHING, [], check), 1)


def test_new_results_replace_those_of_the_same_case_only():
    def one(work, seconds):
        return Measured(work, "c", "peer", None, [1.0], [seconds])

    first = merge_results({}, {"device": "cpu"}, [one("W1", 2.0), one("W2", 3.0)])
    again = merge_results(json.loads(json.dumps(first)), {"device": "cpu"}, [one("W2", 9.0)])
    assert [(row["work"], row["ratio"]) for row in again["results"]] == [("W1", 2.0), ("W2", 9.0)]


def test_a_work_without_peers_shows_its_seconds():
    found = measure(Work("W4", "c", NOTHING), 1, fake_clock(9, 42))
    text = render({"device": "cpu", "versions": {}, "results": [vars(one) for one in found]})
    assert text.endswith("| W4 | c | – | 42 s | – |")


def test_forced_lengths_hold_for_the_engine_and_for_generate():
    model, rows = random_model(SMALL.model), Rows.of(SMALL)
    assert len(set(rows.lengths)) > 3
    for found in (engine_rows(model, rows, 8), generate_rows(model, rows, 5)):
        assert [len(tokens) for tokens in found] == rows.lengths


@pytest.mark.parametrize("make", [sampling_work, scoring_work, bench_works.tuning_work])
def test_results_agree_with_the_peers(make, monkeypatch):
    monkeypatch.setattr(bench_works, "find_spec", lambda name: None)  # TRL has a test of its own
    make(SMALL).check()


def test_a_check_notices_other_tokens(monkeypatch):
    work = sampling_work(SMALL)
    monkeypatch.setattr(bench_works, "generate_rows", lambda *a, **k: [[1]])
    with pytest.raises(ModelError, match="greedy tokens differ"):
        work.check()


@pytest.mark.trl
def test_trl_trains_on_the_same_rows():
    pytest.importorskip("trl")
    work = bench_works.tuning_work(SMALL)
    assert work.peers[0].name.startswith("TRL")
    work.peers[0].act(*work.peers[0].prepare())


def test_the_command_writes_a_file_and_prints_the_table(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(WORKS, "W1", {"small": lambda: sampling_work(SMALL)})
    assert main(["--work", "W1", "--rounds", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("bench-*.json")
    results = json.loads(path.read_text())
    assert len(results["results"][0]["ours_seconds"]) == 1
    assert results["results"][0]["peer"].startswith("generate")
    printed = capfd.readouterr()
    assert render(results) in printed.out and printed.err == ""


def test_the_folder_of_the_results_is_made_before_anything_is_measured(tmp_path, capfd):
    assert main(["--case", "of no work", "--out", str(tmp_path / "new" / "folder")]) == 0
    assert (tmp_path / "new" / "folder").is_dir() and "nothing was measured" in capfd.readouterr().out
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        main(["--out", str(tmp_path / "file" / "folder")])


def test_an_unknown_work_is_refused():
    with pytest.raises(ConfigError, match="W9"):
        main(["--work", "W9"])
