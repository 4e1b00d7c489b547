"""The doctor: device, versions, memory, disk and the embedded models, one line each."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from datasets import Dataset

from rslib.cache import LIBRARIES
from rslib.models import (
    MANIFEST,
    POLICIES,
    REWARD_MODELS,
    Device,
    Policy,
    RewardModel,
    load_policy,
    load_reward_model,
    pick_device,
    verify_assets,
)
from rslib.scoring import score


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, whether it is well, and what was found.

    >>> print(Check("python", True, "3.11.7"))
    ok    python                           3.11.7
    """

    name: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'FAIL':<5} {self.name:<32} {self.detail}"


_TINY_VOCABULARY = 4096  # a model with so small a vocabulary knows the embedded world only
_GIB = 1 << 30
# A prompt with a right and a wrong response, for the embedded world and for models of natural language.
_TINY_PAIR = (
    "What are the steps to cook plain rice?",
    "Rinse the rice until the water is clear. Simmer one cup of rice in two cups of water. "
    "Keep the lid on for fifteen minutes.",
    "Ugh, fine. Do not zoom in too far.",
)
PLAIN_PAIR = (
    "A box holds 12 eggs. Two break, and the rest are shared equally by 5 people. How many does each get?",
    "12 eggs minus the 2 that broke leaves 10. Shared by 5 people, each gets 10 / 5 = 2 eggs.",
    "12 eggs plus the 2 that broke makes 14. Shared by 5 people, each gets 14 / 5 = 3 eggs.",
)


def doctor(
    *, device: str | None = None, dtype: str | None = None, reward: str | Path | None = None
) -> list[Check]:
    """One check of each thing that a run needs; never raises for what it finds.

    Device and dtype with the reason, library versions, memory, disk space, the files of the embedded models
    against their manifest, and both embedded models loaded and tried. `reward` names one more reward model to
    try on a known pair: it must prefer the right response and must not be constant.
    """
    options = {"device": device, "dtype": dtype}
    checks = [_try(name, look) for name, look in _surroundings(**options).items()]
    folders = sorted({*POLICIES.values(), *REWARD_MODELS.values()})
    checks += [_try(f"files of {name}", lambda name=name: _asset_report(name)) for name in folders]
    checks.append(_try("policy tiny", lambda: _policy_report(load_policy("tiny", **options))))
    for name in ["tiny"] if reward is None else ["tiny", reward]:
        checks.append(
            _try(
                f"reward model {name}",
                lambda name=name: _reward_report(load_reward_model(name, **options)),
            )
        )
    return checks


def _try(name: str, look: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *look())
    except Exception as err:  # the doctor reports whatever is wrong and looks at the rest
        return Check(name, False, " ".join(str(err).split()) or type(err).__name__)


def _surroundings(device: str | None, dtype: str | None) -> dict[str, Callable[[], tuple[bool, str]]]:
    libraries = {library: lambda library=library: (True, metadata.version(library)) for library in LIBRARIES}
    return {
        "python": lambda: (sys.version_info >= (3, 11), platform.python_version()),
        **libraries,
        "device": lambda: _device_report(pick_device(device, dtype)),
        "memory": _memory_report,
        "disk": _disk_report,
    }


def _device_report(device: Device) -> tuple[bool, str]:
    described = f"{device.name}, {str(device.dtype).removeprefix('torch.')} ({device.why})"
    if device.name.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device.name)
        gpu = torch.cuda.get_device_name(device.name)
        described += f"; {gpu}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    return True, f"{described}; {torch.get_num_threads()} CPU threads"


def _memory_report() -> tuple[bool, str]:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    except (AttributeError, ValueError, OSError):
        return True, "this system does not tell"
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if not free:
        return True, f"{total / _GIB:.1f} GiB"
    available = f"{free[0] / _GIB:.1f} of {total / _GIB:.1f} GiB available (a tiny run needs about 1)"
    return free[0] >= _GIB, available


def _disk_report() -> tuple[bool, str]:
    free = shutil.disk_usage(Path.cwd()).free
    return free >= _GIB, f"{free / _GIB:.1f} GiB free in {Path.cwd()} (a tiny run needs less than 1)"


def _asset_report(folder: str) -> tuple[bool, str]:
    if not MANIFEST.is_file():
        return False, "rslib/assets/manifest.json is missing, so the files cannot be checked"
    problems = verify_assets(folder)
    return not problems, "; ".join(problems) or "all as the manifest lists them"


def _policy_report(policy: Policy) -> tuple[bool, str]:
    facts = f"{policy.parameters:,} parameters, context {policy.context} tokens"
    return True, f"{facts}, fingerprint {policy.fingerprint()[:12]}"


def _reward_report(reward_model: RewardModel) -> tuple[bool, str]:
    vocabulary = reward_model.model.get_input_embeddings().num_embeddings
    prompt, right, wrong = _TINY_PAIR if vocabulary <= _TINY_VOCABULARY else PLAIN_PAIR
    texts = {"prompt_id": "pair", "prompt": prompt}
    rows = [texts | {"sample_id": i, "response": r} for i, r in enumerate((right, wrong, "Hello."))]
    high, low, other = score(reward_model, Dataset.from_list(rows), show_progress=False)["reward"][:]
    if max(high, low, other) - min(high, low, other) < 1e-4:
        return False, f"every response gets the same reward ({high:.4f}): these are not its trained weights"
    verdict = "prefers the right response" if high > low else "prefers the wrong response"
    return high > low, f"{verdict} of a known pair: {high:.3f} right, {low:.3f} wrong"
