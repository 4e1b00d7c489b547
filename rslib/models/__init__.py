"""Policies and reward models: an embedded name, a local folder and a hub id take one path to a loaded model.

Loading refuses what would fail in silence later: random heads, wrong weights, thinking templates, damaged
files, a pad token that ends sequences, output heads unknown to the engine. Only safetensors, no remote code.
"""

from rslib.models.assets import ASSETS, MANIFEST, POLICIES, REWARD_MODELS, digest_folder, verify_assets
from rslib.models.device import Device, pick_device
from rslib.models.heads import check_finite, hidden_states, logits_from_hidden, rewards_from_hidden
from rslib.models.loaded import Policy, PromptBlindRewardModel, RewardModel
from rslib.models.loading import load_policy, load_reward_model
from rslib.models.quiet import quiet
from rslib.models.saving import replaced_folder

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
