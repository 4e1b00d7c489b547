"""Many workers, GPUs and machines through Ray (extra `cluster`): the cached stages, worked on elsewhere.

Sampling and scoring are Ray Data stages: the parts of a table go to workers that each hold a model. What a
part becomes depends on that part alone, so the rows are those of one process, on CPUs to the last bit. The
driver writes a part's shard when it comes; a driver that is started again goes on behind them. Fine-tuning is
data parallel through Ray Train: each worker computes the gradient of its share of every batch. One worker
gives the bits of one process; more of them add the same numbers in another order.

Ray restarts workers that died, redoes what they held, and lets no more parts wait than memory holds.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from rslib import finetuning
from rslib.cache import atomic_write, make_folder
from rslib.config import FinetuneConfig, require
from rslib.errors import ConfigError, RSError
from rslib.models import POLICIES, REWARD_MODELS, Policy, load_policy
from rslib.optimization import Objective, Optimizer
from rslib.stages import Checkpoint, ModelWork, Stages
from rslib.store import RunFolder, in_turn, table_bytes, table_from

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

_QUIET = {"RAY_DATA_LOG_LEVEL": "ERROR", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment variables, unless they are set: a stage shows its own progress, and Ray sends nothing home."""
_TRIES = 3
"""How often a fine-tune begins anew after it lost a worker."""


class Cluster:
    """A Ray cluster and the share of it that is used.

    address: "local" starts Ray on this machine, "auto" joins the cluster that this machine belongs to.
    workers: copies of a model that sample or score; None: one a GPU, without GPUs one for as many CPUs as
    torch uses threads. train_workers: None: one a GPU, without GPUs one, whose result is that of one process.
    Raises ConfigError when Ray is missing or not reached, or the cluster is too small for so many workers.
    """

    def __init__(
        self, address: str = "local", workers: int | None = None, train_workers: int | None = None
    ) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
            import ray.data
        except ImportError as err:
            fix = 'pip install "rslib-course[cluster]", or leave out --engine ray.'
            raise ConfigError(f"Ray cannot be imported ({err})", where="engine ray", fix=fix) from err
        try:
            ray.init(address=address, ignore_reinit_error=True, logging_level="ERROR")
        except (ConnectionError, ValueError) as err:
            fix = "Start one with `ray start --head`, or use --address local."
            raise ConfigError(f"no Ray cluster: {err}", where=f"address '{address}'", fix=fix) from err
        ray.data.DataContext.get_current().enable_progress_bars = False  # the stage shows its own progress
        resources = ray.cluster_resources()
        self.gpus, self.threads = int(resources.get("GPU", 0)), torch.get_num_threads()
        room = self.gpus or max(1, int(resources.get("CPU", 1)) // self.threads)
        self.workers, self.train_workers = workers or room, train_workers or max(1, self.gpus)
        require(
            max(self.workers, self.train_workers) <= room,
            f"{self.workers} workers, {self.train_workers} for fine-tuning, and room for {room}",
            f"{self.gpus} GPUs, {resources.get('CPU', 0):g} CPUs, {self.threads} threads a worker",
            "Use fewer workers, add machines, or set OMP_NUM_THREADS=1.",
        )

    # Sampling and scoring

    def each(
        self, work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, Dataset, float]]:
        """As `rslib.store.in_turn`, on the workers, in the order in which the parts are finished.

        Selection, and what a flaw replaces, is worked on in this process. Raises the errors of the work.
        """
        if not (isinstance(work, ModelWork) and work.travels):
            yield from in_turn(work, parts)
            return
        import pyarrow
        import ray.data

        sent = dataclasses.replace(work, path=_everywhere(work.path))
        blocks = ray.data.from_arrow(
            [pyarrow.table({"number": [n], "rows": [table_bytes(part)]}) for n, part in parts.items()]
        )
        done = blocks.map_batches(
            _Worker,
            fn_constructor_args=(sent, self.threads),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(parts))),
            num_cpus=0 if self.gpus else self.threads,
            num_gpus=1 if self.gpus else 0,
        )
        for block in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in block.to_pylist():
                if row["error"]:
                    raise _error_from(row["error"])
                yield row["number"], table_from(row["rows"]), row["seconds"]

    # Fine-tuning

    def finetune(self, policy: Policy, kept: Dataset, out: str | Path, **settings: Any) -> Policy:
        """As `rslib.finetuning.finetune`, on the training workers; all must see `out` and the policy.

        settings: config and show_progress.
        """
        rows, folder = finetuning.training_rows(policy, kept), make_folder(Path(out).parent).resolve()
        train = functools.partial(self._trained, folder=folder)
        return finetuning.finetune_rows(
            policy, rows, out, train=train, workers=self.train_workers, **settings
        )

    def _trained(
        self,
        policy: Policy,
        rows: Sequence[finetuning.TokenRow],
        config: FinetuneConfig,
        *,
        show_progress: bool,
        folder: Path,
    ) -> tuple[torch.nn.Module, list[float]]:
        """As `rslib.finetuning.trained`; what the workers share lies below `folder` for that time."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

        each = {"CPU": 0 if self.gpus else self.threads, "GPU": 1 if self.gpus else 0}
        with tempfile.TemporaryDirectory(dir=folder) as name:
            shared, path = Path(name), _everywhere(policy.name)
            dtype = str(policy.device.dtype).removeprefix("torch.")
            setup = {"path": path, "dtype": dtype, "rows": rows, "config": config, "shared": shared}
            trainer = TorchTrainer(
                _train_share,
                train_loop_config=setup | {"threads": self.threads, "show": show_progress},
                scaling_config=ScalingConfig(
                    num_workers=self.train_workers, use_gpu=self.gpus > 0, resources_per_worker=each
                ),
                run_config=RunConfig(storage_path=name, failure_config=FailureConfig(max_failures=_TRIES)),
            )
            try:
                trainer.fit()
            except TrainingFailedError:
                _raise_if_written(shared)
                raise
            weights, losses = torch.load(shared / "tuned.pt", map_location=policy.model.device)
        model = finetuning.trainable_copy(policy)
        model.load_state_dict(weights)
        return model, losses


class RayStages(Stages):
    """The cached stages with their work done on a cluster; the keys of a run without one, and its folder."""

    def __init__(self, folder: RunFolder, *settings: int, cluster: Cluster, **drawing: Any) -> None:
        super().__init__(folder, *settings, each=cluster.each, **drawing)
        self.cluster = cluster
        self.device = "cuda" if cluster.gpus else "cpu"

    def finetune(
        self,
        parent: Checkpoint,
        kept: Dataset,
        config: FinetuneConfig,
        place: str = "",
        work: Callable[..., Policy] = finetuning.finetune,
    ) -> Checkpoint:
        """`parent` fine-tuned on the kept rows, as a folder of its own."""
        if not inspect.ismethod(work):  # a flaw's fine-tune is one of its round's
            name, workers = work.__qualname__, self.cluster.train_workers
            work = functools.partial(self.cluster.finetune)
            work.__qualname__ = name if workers == 1 else f"{name} on {workers} workers"
        return super().finetune(parent, kept, config, place, work)


# On a worker ------------------------------------------------------------------------------------------


class _Worker:
    """Does the work of a stage on one part after another; its model is loaded with the first."""

    def __init__(self, work: ModelWork, threads: int) -> None:
        torch.set_num_threads(threads)  # sums are made in the order of the driver's
        self.work = work

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        import pyarrow

        [row] = batch.to_pylist()
        result = {"number": row["number"], "rows": b"", "seconds": 0.0, "error": b""}
        try:
            [(_, table, seconds)] = in_turn(self.work, {row["number"]: table_from(row["rows"])})
            result |= {"rows": table_bytes(table), "seconds": seconds}
        except RSError as err:  # as data: no second try would end otherwise
            result["error"] = pickle.dumps(err)
        return pyarrow.Table.from_pylist([result])


class _Shared(Optimizer):
    """Steps on a batch of which each worker computes a share; all of them end with the same weights."""

    def accumulate_gradients(self, objective: Objective, batch: list[int]) -> float:
        """The loss of the whole batch, its gradient added to the weights' `.grad`."""
        rank, workers = distributed.get_rank(), distributed.get_world_size()
        share, weight = batch[rank::workers], objective.weight(batch)
        loss = 0.0
        if share:
            loss = super().accumulate_gradients(Objective(objective.loss_sum, lambda _: weight), share)
        if workers == 1:
            return loss
        for parameter in (p for group in self.adamw.param_groups for p in group["params"]):
            if parameter.grad is None:  # of a worker without a share
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
        total = torch.tensor(loss, dtype=torch.float64, device=parameter.device)
        distributed.all_reduce(total)
        return float(total)


def _train_share(setup: dict[str, Any]) -> None:
    """Train in step with the other workers; the first one writes weights and losses into `shared`."""
    _raise_if_written(setup["shared"])
    torch.set_num_threads(setup["threads"])
    policy, first = load_policy(setup["path"], dtype=setup["dtype"]), distributed.get_rank() == 0
    show = first and setup["show"]
    try:
        model, losses = finetuning.trained(
            policy, setup["rows"], setup["config"], show_progress=show, kind=_Shared
        )
    except RSError as err:
        atomic_write(setup["shared"] / "error", pickle.dumps(err))
        raise
    if first:
        torch.save((model.state_dict(), losses), setup["shared"] / "tuned.pt")


def _raise_if_written(shared: Path) -> None:
    """Raise the engine's error that a worker left here, if one did: the next try would end in it too."""
    if (shared / "error").exists():
        raise _error_from((shared / "error").read_bytes())


# What travels, and what comes back --------------------------------------------------------------------


def _error_from(content: bytes) -> RSError:
    """The engine's error that a worker has pickled."""
    return pickle.loads(content)


def _everywhere(name: str | None) -> str | None:
    """A model's name as other processes and machines find it: folders by their whole path."""
    if name is None or name in POLICIES or name in REWARD_MODELS or not Path(name).is_dir():
        return name
    return str(Path(name).resolve())
