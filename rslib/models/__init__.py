"""Policies and reward models: an embedded name, a local folder and a hub id take one path to a loaded model.

Loading refuses what would fail in silence later: random heads, wrong weights, thinking templates, damaged
files, a pad token that ends sequences, output heads unknown to the engine. Only safetensors, no remote code.
"""

from rslib.decoding.attention import check_finite, hidden_states, logits_from_hidden
from rslib.models.checks import ASSETS, MANIFEST, POLICIES, REWARD_MODELS, digest_folder, verify_assets
from rslib.models.loaded import (
    Device,
    Policy,
    pick_device,
    quiet,
    replaced_folder,
)
from rslib.models.loading import load_policy
from rslib.models.rewards import PromptBlindRewardModel, RewardModel, load_reward_model, rewards_from_hidden

__all__ = [
    "ASSETS",
    "MANIFEST",
    "POLICIES",
    "REWARD_MODELS",
    "Device",
    "Policy",
    "PromptBlindRewardModel",
    "RewardModel",
    "check_finite",
    "digest_folder",
    "hidden_states",
    "load_policy",
    "load_reward_model",
    "logits_from_hidden",
    "pick_device",
    "quiet",
    "replaced_folder",
    "rewards_from_hidden",
    "verify_assets",
]
