"""Many workers: the rows, checkpoints and report of one process, and what the death of a process costs."""

import doctest
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

import rslib
from docs.studies import scale
from rslib import cluster, pipeline, store
from rslib.__main__ import main
from rslib.config import FinetuneConfig, SampleConfig
from rslib.errors import ConfigError, DataError, ModelError
from rslib.finetuning import finetune, training_rows
from rslib.models import load_policy
from rslib.stages import Models, ModelWork, Stages
from rslib.tables import fingerprint, with_column
from tests.fake_tables import scored
from tests.fake_work import noted

ROOT = Path(__file__).parents[1]
CONFIG = FinetuneConfig(epochs=1, batch_tokens=160, learning_rate=1e-3)


def with_ray(test):
    missing = importlib.util.find_spec("ray") is None
    return pytest.mark.ray(pytest.mark.skipif(missing, reason="needs Ray")(test))


@pytest.fixture(scope="module")
def two_workers():
    """This machine as a cluster of two workers; two of them fine-tune."""
    import ray

    ray.init(address="local", num_cpus=2, logging_level="ERROR", include_dashboard=False)
    yield cluster.Cluster(workers=2, train_workers=2)
    ray.shutdown()


@pytest.fixture(scope="module")
def kept():
    """A selected table: one response to each of 12 prompts."""
    pool = rslib.sample(
        load_policy("tiny"), rslib.load_prompts("tiny", "train", 12), n=1, show_progress=False
    )
    return with_column(pool, "reward", [0.0] * len(pool))


def test_without_ray_the_error_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="Ray cannot be imported"):
        cluster.Cluster()
    assert main(["sample", "--prompts", "2", "--engine", "ray", "--out", str(tmp_path)]) == 2
    assert 'pip install "rslib-course[cluster]"' in capsys.readouterr().err


def test_the_page_shows_the_table_of_the_rates_that_it_names():
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    named = re.search(r"([\d,]+) tokens sampled, ([\d,]+) rows scored and ([\d,]+) tokens\s+trained", page)
    rates = [float(rate.replace(",", "")) for rate in named.groups()]
    assert scale.table(*rates) in page
    assert doctest.testmod(scale).failed == 0


# Steps that are shared, in processes without Ray --------------------------------------------------------


def worker(rank, workers, meeting, setup):
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=workers)
    cluster._train_share(setup)


def trained(kept, workers, folder, **settings):
    """Weights and losses of as many workers."""
    rows = training_rows(load_policy("tiny"), kept)
    setup = {"path": "tiny", "rows": rows, "config": FinetuneConfig(**vars(CONFIG) | settings)}
    setup |= {"threads": 1, "dtype": "float32", "shared": folder, "show": False}
    folder.mkdir()
    torch.multiprocessing.spawn(worker, (workers, folder / "meeting", setup), nprocs=workers)
    weights, losses = torch.load(folder / "tuned.pt")
    return {"weights": weights, "losses": losses}


@pytest.mark.long
def test_two_workers_take_the_steps_of_one_up_to_the_rounding_of_sums(kept, tmp_path):
    # With 60 tokens a batch is a row or two, and some steps leave the second worker without a share.
    one, two = (trained(kept, k, tmp_path / str(k), batch_tokens=60) for k in (1, 2))
    assert len(one["losses"]) == len(two["losses"]) >= 6
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=2e-4, rtol=1e-3)


@pytest.mark.long
def test_one_worker_gives_the_bits_of_a_fine_tune_without_workers(kept, tmp_path):
    one = trained(kept, 1, tmp_path / "one")
    tuned = finetune(load_policy("tiny"), kept, tmp_path / "plain", config=CONFIG, show_progress=False)
    assert all(torch.equal(one["weights"][name], weight) for name, weight in tuned.model.state_dict().items())


# With Ray -------------------------------------------------------------------------------------------------


def stages_table(stages_of, path):
    """Sampled, scored and weighed rows, and the names and bytes of their shards."""
    with store.RunFolder(path, show=False) as folder:
        stages = stages_of(folder, 8)
        policy, reward_model = (
            stages.models.policy_checkpoint("tiny"),
            stages.models.reward_checkpoint("tiny"),
        )
        config = SampleConfig(n=4, max_new_tokens=24)
        table = stages.judged(
            policy, rslib.load_prompts("tiny", "train", 8), reward_model, config, "x", reference=policy
        )
    shards = {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*.arrow"))}
    return fingerprint(table), shards


@with_ray
def test_one_and_two_workers_and_none_give_the_same_shards_under_the_same_keys(two_workers, tmp_path):
    without = stages_table(Stages, tmp_path / "without")
    for count in (1, 2):
        two_workers.workers = count

        def stages_of(*settings, **options):
            return cluster.RayStages(*settings, **options, cluster=two_workers)

        assert stages_table(stages_of, tmp_path / str(count)) == without
    assert len(without[1]) == 12  # four shards of each step


@pytest.mark.long
@with_ray
def test_a_run_on_workers_ends_with_the_report_of_a_run_without(two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr(two_workers, "train_workers", 1)
    small = dict(n=2, prompts=4, eval_prompts=4, eval_samples_per_prompt=1, epochs=1, max_new_tokens=8)
    settings = small | {"eval_max_new_tokens": 8, "shard_responses": 4, "show_progress": False}
    rslib.run(out=tmp_path / "without", **settings)

    def stages_of(*arguments, **options):
        return cluster.RayStages(*arguments, **options, cluster=two_workers)

    rslib.run(out=tmp_path / "ray", stages=stages_of, **settings)
    first, second = (store.read_json(tmp_path / name / "report.json") for name in ("without", "ray"))
    assert first["report_hash"] == second["report_hash"] == pipeline.report_hash(second)


@with_ray
def test_two_workers_fine_tune_through_ray_train_and_the_folder_says_so(two_workers, kept, tmp_path):
    with store.RunFolder(tmp_path, show=False) as folder:
        stages = cluster.RayStages(folder, cluster=two_workers)
        parent = stages.models.policy_checkpoint("tiny")
        tuned = stages.finetune(parent, kept, CONFIG, "tuned")
        assert "on 2 workers" in store.read_json(Path(tuned.path) / "stage.json")["key"]["code"]
    plain = finetune(load_policy("tiny"), kept, tmp_path / "plain", config=CONFIG, show_progress=False)
    weights = load_policy(tuned.path).model.state_dict()
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(weights[name], weight, atol=2e-4, rtol=1e-3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


@with_ray
def test_an_error_on_a_worker_is_the_error_of_one_process(two_workers):
    parts = {0: rslib.load_prompts("tiny", "train", 1).remove_columns("prompt")}
    work = ModelWork(Models(), "reward_model", "tiny", rslib.score, {"show_progress": False})
    with pytest.raises(DataError) as caught:
        list(two_workers.each(work, parts))
    assert "column" in str(caught.value)


@with_ray
def test_an_error_of_a_fine_tune_is_the_error_of_one_process(two_workers, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_TRIES", 1)
    config = FinetuneConfig(epochs=3, batch_tokens=160, learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(ModelError, match="the loss is"):
        two_workers.finetune(load_policy("tiny"), kept, tmp_path / "out", config=config, show_progress=False)
    assert list(tmp_path.iterdir()) == []


@with_ray
def test_a_worker_that_is_killed_costs_no_row_and_doubles_none(two_workers, tmp_path):
    def kill_one():
        while len(list(tmp_path.iterdir())) < 4:
            time.sleep(0.02)
        first = min(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.kill(int(first.name.split("-")[1]), signal.SIGKILL)

    parts = dict(enumerate(store.cut(scored(prompts=16, n=2), 2)))
    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    done = list(two_workers.each(ModelWork(Models(), "policy", None, noted, {"folder": tmp_path}), parts))
    killer.join()
    assert sorted(number for number, _, _ in done) == list(range(16))
    assert all(fingerprint(table) == fingerprint(parts[number]) for number, table, _ in done)
    assert len({path.name.split("-")[1] for path in tmp_path.iterdir()}) >= 3  # a new worker came


@with_ray
def test_a_driver_that_is_killed_goes_on_behind_its_finished_shards(tmp_path):
    out, plain = tmp_path / "ray", tmp_path / "plain"
    command = ["sample", "--prompts", "400", "--n", "8", "--max-new-tokens", "48"]
    assert main([*command, "--out", str(plain)]) == 0
    on_ray = [sys.executable, "-m", "rslib", *command, "--out", str(out), "--engine", "ray"]

    def shards():
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.arrow")}

    with open(tmp_path / "log", "wb") as log:
        driver = subprocess.Popen(on_ray, cwd=ROOT, stdout=log, stderr=log)
        while len(shards()) < 2 and driver.poll() is None:
            time.sleep(0.02)
        driver.kill()
        assert driver.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        before = shards()
        assert 2 <= len(before) < 7
        assert subprocess.run(on_ray, cwd=ROOT, stdout=log, stderr=log).returncode == 0
    assert before.items() <= shards().items() and len(shards()) == 7
    assert "going on" in (tmp_path / "log").read_text()
    assert fingerprint(store.read_table(out)) == fingerprint(store.read_table(plain))
