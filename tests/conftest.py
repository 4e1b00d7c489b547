"""Fixtures that every test module shares."""

from __future__ import annotations

import os

# Tests run beside other work; one thread a process also keeps float sums in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`model_folder(arch, kind="policy", **overrides)`: a folder with random weights, built once a session.

    `overrides` are config fields, or `seed`, `max_new_tokens`, `tokenizer` of `build_model_folder`
    (with a tokenizer of its own, the folder is built anew).
    Treat the folder as read-only: copy it before changing a file.
    """
    built: dict[str, Path] = {}

    def build(arch: str = "llama", kind: str = "policy", **overrides) -> Path:
        from tests.small_models import build_model_folder

        key = repr((arch, kind, sorted(overrides.items(), key=lambda item: item[0])))
        if key not in built or "tokenizer" in overrides:
            folder = tmp_path_factory.mktemp(f"{arch}-{kind}") / "model"
            built[key] = build_model_folder(folder, arch, kind, **overrides)
        return built[key]

    return build


HOW_TO_GET = {
    "bubblewrap": "make sandbox",
    "chromium": "Debian, Ubuntu: apt install chromium chromium-driver",
    "nbgrader": "make lab adds the course's packages",
    "jupyterlab": "make lab adds the course's packages",
    "ipywidgets": "make lab adds the course's packages",
    "Ray": 'pip install "rslib-course[cluster]"',
}
"""What tests are skipped for, and how a newcomer gets it."""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last of all how many tests were skipped for want of a tool, and where the tool comes from."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reasons = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])] if reporter else []
    for tool, way in HOW_TO_GET.items():
        count = sum(tool in reason for reason in reasons)
        if count:
            reporter.write_line(f"{count} tests skipped: they need {tool} ({way})", yellow=True)
