"""Where models run: device and dtype, chosen once, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rslib.config import unknown_name
from rslib.errors import ConfigError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Device:
    """Where a model runs, in which dtype, and the reason for both."""

    name: str
    dtype: torch.dtype
    why: str


def pick_device(device: str | None = None, dtype: str | None = None) -> Device:
    """Device and dtype, chosen once; `why` says the reason in words.

    Without `device`: cuda, else mps, else cpu. Without `dtype`: float32 on cpu and mps; on cuda bfloat16
    where the GPU computes it natively (torch's own test counts slow emulation too), else float16.
    Raises ConfigError for an unknown device or dtype, or a device that this machine does not have.

    >>> pick_device("cpu").dtype
    torch.float32
    """
    name, reason = _device_name(device)
    if dtype is not None:
        if dtype not in _DTYPES:
            raise unknown_name("dtype", dtype, _DTYPES, where="dtype")
        return Device(name, _DTYPES[dtype], f"{reason}; {dtype}: asked for")
    if not name.startswith("cuda"):
        return Device(name, torch.float32, f"{reason}; float32: the safe choice on {name}")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Device(name, torch.bfloat16, f"{reason}; bfloat16: this GPU computes it natively")
    return Device(name, torch.float16, f"{reason}; float16: this GPU only emulates bfloat16, which is slow")


def _device_name(asked: str | None) -> tuple[str, str]:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked is None:
        name = next(kind for kind, present in available.items() if present)
        return name, f"{name}: " + ("no accelerator found" if name == "cpu" else "found on this machine")
    kind, _, index = str(asked).partition(":")
    if kind not in available:
        raise unknown_name("device", asked, available, where="device")
    if not available[kind]:
        fix = "Use device='cpu', or leave device out to have the best one chosen."
        raise ConfigError(f"this machine has no {kind} device that torch can use", where="device", fix=fix)
    if index and not (index.isdigit() and int(index) < (torch.cuda.device_count() if kind == "cuda" else 1)):
        raise ConfigError(f"there is no device '{asked}'", where="device", fix=f"Use '{kind}' or '{kind}:0'.")
    return str(asked), f"{asked}: asked for"
