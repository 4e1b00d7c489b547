"""The embedded models: their names, and their files against the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rslib.store import read_json, sha256_of

ASSETS = Path(__file__).parents[1] / "assets"
MANIFEST = ASSETS / "manifest.json"
POLICIES = {"tiny": "tiny-policy"}
REWARD_MODELS = {
    "tiny": "tiny-reward",
    "tiny-unbiased": "tiny-reward-unbiased",
    "tiny-length": "tiny-reward-length",
    "tiny-swapped": "tiny-reward-swapped",
    "tiny-blind": "tiny-reward",
}
BLIND = "tiny-blind"


def digest_folder(folder: str | Path) -> dict[str, str]:
    """The sha256 (hex) of each file in `folder`, hidden files left out."""
    paths = sorted(
        path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")
    )
    return {path.name: sha256_of(path) for path in paths}


def verify_assets(folder: str | None = None) -> list[str]:
    """Compare the embedded models, or one folder of them, with the manifest: a phrase for each difference."""
    if not MANIFEST.is_file():
        return []
    listed = read_json(MANIFEST)["assets"]
    return [text for name in ([folder] if folder else sorted(listed)) for text in _differences(name, listed)]


def _differences(name: str, listed: Mapping[str, Any]) -> list[str]:
    if name not in listed:
        return [f"{name} is not in the manifest"]
    if not (ASSETS / name).is_dir():
        return [f"{name} is missing"]
    wanted, found = listed[name]["files"], digest_folder(ASSETS / name)
    missing = [f"{name}/{file} is missing" for file in sorted(wanted.keys() - found.keys())]
    extra = [f"{name}/{file} does not belong there" for file in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return missing + extra + [f"{name}/{file} was changed" for file in both if wanted[file] != found[file]]
