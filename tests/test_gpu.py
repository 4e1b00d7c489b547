"""What only a CUDA device can show: the same report twice, and memory that really runs out."""

import json

import numpy as np
import pytest
import torch

import rslib
from rslib.models import load_reward_model
from rslib.scoring import token_rewards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_two_runs_on_one_card_give_the_same_report(tmp_path):
    settings = {"n": 4, "prompts": 40, "eval_prompts": 40, "show_progress": False}
    reports = []
    for name in ("one", "two"):
        rslib.run(out=tmp_path / name, **settings)
        reports.append(json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8")))
    assert reports[0]["report_hash"] == reports[1]["report_hash"]


def test_batches_are_halved_when_memory_really_runs_out_and_rewards_stay(model_folder, capsys):
    model = load_reward_model(str(model_folder("llama", "reward")), device="cuda").model
    rows = np.random.default_rng(0).integers(5, 300, (4000, 200)).tolist()
    owner = [row // 4 for row in range(len(rows))]
    wanted = token_rewards(model, owner, rows, batch_tokens=20_000)
    torch.cuda.empty_cache()
    try:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**29) / total)
        rewards = token_rewards(model, owner, rows, batch_tokens=10**7)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory" in capsys.readouterr().out
    np.testing.assert_allclose(rewards, wanted, atol=1e-4)
