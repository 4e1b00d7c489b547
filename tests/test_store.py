"""The run folder: whole files, shards that resume, and changes that are noticed and named."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset

from rslib import cache, store
from rslib.errors import StoreError
from rslib.store import RunFolder, Stage, atomic_write, cut, read_shard, read_table, table_bytes, write_shard


def prompts(count=10, each=1):
    return Dataset.from_list(
        [
            {"prompt_id": f"p{i:02d}", "prompt": f"prompt {i}", "row": k}
            for i in range(count)
            for k in range(each)
        ]
    )


class Worker:
    """A stage's work that counts how often each prompt was asked for, and can be told to die."""

    def __init__(self, die_at=None):
        self.seen, self.die_at = [], die_at

    def __call__(self, part):
        self.seen += part["prompt_id"]
        if self.die_at in part["prompt_id"]:
            raise KeyboardInterrupt
        return part.add_column("length", [len(text) for text in part["prompt"]])


def do(folder, worker, count=10, size=3, key="a", label="sample"):
    return Stage(folder, {"key": key}).table(cut(prompts(count), size), worker, label=label)


# Files


def test_a_file_is_written_whole_and_leaves_no_temporary_behind(tmp_path):
    atomic_write(tmp_path / "a.json", "one")
    atomic_write(tmp_path / "a.json", b"two")
    assert (tmp_path / "a.json").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_keeps_the_old_file_and_is_named(tmp_path, monkeypatch):
    atomic_write(tmp_path / "a.json", "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(StoreError, match="no disk space left"):
        atomic_write(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_below_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught, RunFolder(tmp_path / "file" / "run"):
        pass
    assert str(tmp_path / "file" / "run") in str(caught.value)


# Keys


def test_a_key_depends_on_content_and_not_on_the_order_it_was_written_in():
    assert store.key_of({"a": 1, "b": [2.5]}) == store.key_of({"b": [2.5], "a": 1})
    assert store.key_of({"a": 1}) != store.key_of({"a": 2})


def test_the_versions_name_the_engine_and_the_libraries():
    versions = store.versions()
    assert versions["rslib"].startswith("0.") and "+" in versions["rslib"]
    assert {"torch", "transformers", "datasets", "numpy", "python"} <= versions.keys()


@pytest.fixture
def checkout(tmp_path):
    """A copy of the engine's code with the folder of studies beside it."""
    package = Path(store.__file__).parent
    code = shutil.ignore_patterns("assets", "__pycache__")
    shutil.copytree(package, tmp_path / "rslib", ignore=code)
    (tmp_path / "docs" / "studies").mkdir(parents=True)
    (tmp_path / "docs" / "studies" / "arena.py").write_text("SEEDS = 3\n")
    assert cache._code_version().endswith(cache._source_hash(tmp_path / "rslib")[:12])
    return tmp_path


@pytest.mark.parametrize("name", ["rslib/page.py", "rslib/plots.py", "docs/studies/arena.py"])
def test_editing_what_shows_results_or_a_study_keeps_finished_stages(checkout, name):
    before = cache._source_hash(checkout / "rslib")
    (checkout / name).write_text("edited = True\n")
    assert cache._source_hash(checkout / "rslib") == before


def test_editing_any_other_file_of_the_engine_makes_finished_stages_old_a_new_one_too(checkout):
    package = checkout / "rslib"
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".txt")]
    counted = [path for path in files if path.relative_to(package).as_posix() not in cache.LEAVES]
    assert len(counted) == len(files) - len(cache.LEAVES)
    hashes = {cache._source_hash(package)}
    for path in [*counted, package / "rl" / "page.py", package / "models" / "plots.py"]:
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")
        hashes.add(cache._source_hash(package))
    assert len(hashes) == len(counted) + 3


# Tables


def test_the_same_rows_give_the_same_bytes_whatever_their_history(tmp_path):
    table = prompts(6, each=2)
    halves = [table.select(range(0, 4)), table.select(range(4, 12))]
    from datasets import concatenate_datasets

    assert table_bytes(table) == table_bytes(concatenate_datasets(halves))


def test_a_shard_comes_back_as_it_was_and_is_an_ordinary_arrow_stream(tmp_path):
    table = (
        prompts(4)
        .add_column("reward", [0.1, -2.0, float("inf"), 1e-300])
        .add_column("ids", [[1], [], [2, 3], [4]])
    )
    write_shard(tmp_path / "shard-00000.arrow", table)
    assert read_shard(tmp_path / "shard-00000.arrow").to_dict() == table.to_dict()
    assert len(Dataset.from_file(str(tmp_path / "shard-00000.arrow"))) == 4


def test_a_cut_never_splits_a_prompt_and_loses_no_row():
    parts = cut(prompts(7, each=3), 4)
    assert [len(part) for part in parts] == [6, 6, 6, 3]
    assert [row for part in parts for row in part["prompt_id"]] == prompts(7, each=3)["prompt_id"][:]
    assert all(
        part["prompt_id"][0] != other["prompt_id"][-1] for other, part in zip(parts, parts[1:], strict=False)
    )


# Resuming


def test_a_finished_stage_is_read_and_not_redone_and_says_so(tmp_path, capsys):
    first, second = Worker(), Worker()
    table, _ = do(tmp_path / "s", first)
    capsys.readouterr()
    again, _ = do(tmp_path / "s", second)
    assert again.to_dict() == table.to_dict()
    assert second.seen == []
    assert capsys.readouterr().out == "sample: 10 responses, cached\n"


def test_an_interrupted_stage_keeps_its_finished_shards_and_redoes_none(tmp_path):
    whole, _ = do(tmp_path / "whole", Worker())
    cut_off, after = Worker(die_at="p07"), Worker()
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path / "s", cut_off)
    finished = sorted(p.name for p in (tmp_path / "s").glob("*.arrow"))
    assert finished == ["shard-00000.arrow", "shard-00001.arrow"]
    resumed, _ = do(tmp_path / "s", after)
    assert after.seen == [f"p{i:02d}" for i in range(6, 10)]
    assert resumed.to_dict() == whole.to_dict()
    for path in (tmp_path / "whole").glob("*.arrow"):
        assert path.read_bytes() == (tmp_path / "s" / path.name).read_bytes()


def test_the_seconds_of_a_resumed_stage_count_all_its_shards(tmp_path):
    def slow(part):
        time.sleep(0.02)
        return part

    _, seconds = do(tmp_path / "s", slow)
    assert seconds >= 0.08
    assert do(tmp_path / "s", slow)[1] == pytest.approx(seconds)


def test_an_unfinished_stage_cannot_be_read_as_a_table(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path / "s", Worker(die_at="p07"))
    with pytest.raises(StoreError, match="not finished: 2 of 4 shards are missing"):
        read_table(tmp_path / "s")


def test_a_finished_stage_reads_back_as_one_table(tmp_path):
    table, _ = do(tmp_path / "s", Worker())
    assert read_table(tmp_path / "s").to_dict() == table.to_dict()


def test_a_folder_that_is_no_stage_is_named(tmp_path):
    with pytest.raises(StoreError, match="not the folder of a stage"):
        read_table(tmp_path)


# Changes that are noticed


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-40], "shard-00001.arrow was truncated"),
        (lambda data: data[:200] + b"X" + data[201:], "shard-00001.arrow was changed after it was written"),
        (lambda data: data + b"more", "shard-00001.arrow was changed after it was written"),
        (lambda data: b"", "shard-00001.arrow was truncated"),
    ],
)
def test_a_damaged_shard_is_named_with_the_way_out(tmp_path, damage, words):
    do(tmp_path / "s", Worker())
    shard = tmp_path / "s" / "shard-00001.arrow"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(StoreError, match=words) as caught:
        do(tmp_path / "s", Worker())
    assert str(shard) in str(caught.value) and "delete" in caught.value.fix


def test_deleting_the_damaged_shard_redoes_it_alone(tmp_path):
    do(tmp_path / "s", Worker())
    shard = tmp_path / "s" / "shard-00001.arrow"
    before = shard.read_bytes()
    shard.unlink()
    worker = Worker()
    do(tmp_path / "s", worker)
    assert worker.seen == ["p03", "p04", "p05"]
    assert shard.read_bytes() == before


@pytest.mark.parametrize("record", ["", "{", "{}"])
def test_a_damaged_record_is_named(tmp_path, record):
    do(tmp_path / "s", Worker())
    (tmp_path / "s" / "shard-00002.json").write_text(record)
    with pytest.raises(StoreError) as caught:
        do(tmp_path / "s", Worker())
    assert "shard-00002" in str(caught.value)


def test_a_lost_record_is_named(tmp_path):
    do(tmp_path / "s", Worker())
    (tmp_path / "s" / "shard-00000.json").unlink()
    with pytest.raises(StoreError, match="lost its record"):
        do(tmp_path / "s", Worker())


def test_other_settings_in_the_same_stage_folder_are_refused_by_name(tmp_path):
    do(tmp_path / "s", Worker(), key="n=16")
    with pytest.raises(StoreError, match="key was n=16, is n=8"):
        do(tmp_path / "s", Worker(), key="n=8")


def test_a_changed_input_is_refused_and_a_changed_setting_is_told(tmp_path, capsys):
    given = {"prompts": {"source": "p.jsonl", "fingerprint": "a" * 64}}
    with RunFolder(tmp_path / "run") as folder:
        folder.record_inputs(given, {"n": 16})
    with RunFolder(tmp_path / "run") as folder:
        folder.record_inputs(given, {"n": 8})
        assert "n was 16, is 8" in capsys.readouterr().out
        with pytest.raises(StoreError, match="prompts changed since this run began") as caught:
            folder.record_inputs({"prompts": {"source": "p.jsonl", "fingerprint": "b" * 64}}, {"n": 8})
    assert "aaaaaaaaaaaa" in str(caught.value) and "bbbbbbbbbbbb" in str(caught.value)
    assert "--out" in caught.value.fix


# Checkpoints


def save_model(out):
    out.mkdir()
    (out / "weights").write_bytes(b"w" * 100)
    return {"fingerprint": "f"}


def test_a_checkpoint_is_written_once_and_comes_with_the_hashes_of_its_files(tmp_path):
    stage = Stage(tmp_path / "c", {"k": 1})
    first = stage.checkpoint(save_model, label="fine-tune")
    again = stage.checkpoint(lambda out: pytest.fail("redone"), label="fine-tune")
    assert first == again and again["fingerprint"] == "f"
    assert again["files"] == {"weights": store.sha256_of(tmp_path / "c" / "weights")}


def test_a_changed_or_lost_checkpoint_file_is_named(tmp_path):
    stage = Stage(tmp_path / "c", {"k": 1})
    stage.checkpoint(save_model, label="fine-tune")
    (tmp_path / "c" / "weights").write_bytes(b"other")
    with pytest.raises(StoreError, match="checkpoint file weights was changed"):
        stage.checkpoint(save_model, label="fine-tune")
    (tmp_path / "c" / "weights").unlink()
    with pytest.raises(StoreError, match="checkpoint file weights is gone"):
        stage.checkpoint(save_model, label="fine-tune")


def test_a_checkpoint_that_was_cut_off_is_swept_and_redone(tmp_path):
    def dies(out):
        save_model(out)
        raise KeyboardInterrupt

    for _ in range(2):
        with RunFolder(tmp_path / "run") as folder, pytest.raises(KeyboardInterrupt):
            folder.stage("c", {}).checkpoint(dies, label="fine-tune")
    assert list((tmp_path / "run").glob("*rslib-tmp*"))
    with RunFolder(tmp_path / "run") as folder:
        assert not list((tmp_path / "run").glob("*rslib-tmp*"))
        assert folder.stage("c", {}).checkpoint(save_model, label="fine-tune")["fingerprint"] == "f"


# One process at a time

HOLD = """
import sys, time
from rslib.store import RunFolder
with RunFolder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_with_the_id_of_the_first(tmp_path, holder):
    with (
        pytest.raises(StoreError, match=f"another process \\(id {holder.pid}\\)"),
        RunFolder(tmp_path / "run"),
    ):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    with RunFolder(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text().strip() == str(os.getpid())


def test_a_lock_file_with_a_dead_id_in_it_does_not_lock_anybody_out(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("999999\n")
    with RunFolder(tmp_path / "run"):
        pass


def test_the_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "run"):
        raise ZeroDivisionError
    with RunFolder(tmp_path / "run"):
        pass


def test_half_written_files_of_a_killed_process_are_swept_away_and_others_are_not(tmp_path):
    (tmp_path / "run" / "s").mkdir(parents=True)
    (tmp_path / "run" / "s" / "shard-00000.arrow.rslib-tmp").write_text("half")
    (tmp_path / "run" / "my.tmp").write_text("mine")
    with RunFolder(tmp_path / "run"):
        assert sorted(p.name for p in (tmp_path / "run").rglob("*tmp*")) == ["my.tmp"]


def test_the_stage_record_says_in_words_what_the_result_depends_on(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        folder.stage("round-1/sample", {"n": 4}).table(cut(prompts(2), 1), Worker(), label="sample")
    record = json.loads(next((tmp_path / "run" / "round-1").glob("sample-*/stage.json")).read_text())
    assert record["key"]["n"] == 4 and record["key"]["versions"] == store.versions()
