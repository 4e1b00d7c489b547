"""Placeholders in the course's text: exercise cards, numbers from result files, address and version.

    {{card:1.3}}                                               the exercise's card
    {{rounds.json:results.0.arms.base.gold.mean|.2f}}          a number of docs/results/rounds.json
    {{rounds.json:results.*.arms.base.gold.mean|.2f}}          its mean over all entries
    {{fact:passes.rs|d}}                                       a number of the notebooks' table of facts
    {{repository}} {{version}}                                 from pyproject.toml and the package

No number of the course's text is typed. One that is missing stops the build.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from autograder import exercises
from autograder.exercises import facts
from rslib import __version__
from rslib.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
PLACEHOLDER = re.compile(r"\{\{(.+?)\}\}")
NO_ADDRESS = "ORG/REPO"
"""How an address ends while there is none."""


def expand(text: str, where: str, results: Path = RESULTS) -> str:
    """The text with every placeholder replaced; `where` goes into the error of one that cannot be.

    >>> from rslib import __version__
    >>> expand("rslib {{version}}", "a test") == f"rslib {__version__}"
    True
    """
    return PLACEHOLDER.sub(lambda placeholder: _value(placeholder[1].strip(), where, results), text)


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def repository() -> str:
    """The address of the repository; pyproject.toml is its only home."""
    return _project()["urls"]["Repository"]


def wheel() -> str:
    """The file name of the wheel that `make wheel` makes of this version."""
    return f"{_project()['name'].replace('-', '_')}-{__version__}-py3-none-any.whl"


def install_cell() -> str:
    """The statement that installs this version in Colab: an uploaded wheel while there is no address.

    --no-deps keeps pip from replacing the runtime's torch under a running kernel.
    """
    name, address = _project()["name"], repository()
    what = f'"{name} @ git+{address}@v{__version__}"'
    how = ""
    if address.endswith(NO_ADDRESS):
        what, how = wheel(), "  # upload this file first: the folder on the left"
    return f"""get_ipython().run_line_magic("pip", 'install -q --no-deps {what}'){how}"""


def colab_line(notebook: str) -> str:
    """How to come to a notebook in Colab: a link to this version, or while there is no address, by hand."""
    host, address = "https://github.com/", repository()
    if address.endswith(NO_ADDRESS) or not address.startswith(
        host
    ):  # Colab opens addresses of this host alone
        return f"In Colab: *File → Upload notebook*, and `{wheel()}` into its folder."
    place = f"{address.removeprefix(host)}/blob/v{__version__}/notebooks/{notebook}.ipynb"
    return f"[Open in Colab](https://colab.research.google.com/github/{place})"


def gpu_line(section: str) -> str:
    """Whether a notebook needs a GPU; `section` is the heading of the one that wants one, or ""."""
    if not section:
        return "No GPU needed."
    return (
        f"No GPU needed, but for the section *{section}*: *Runtime → Change runtime type → T4 GPU* in Colab "
        "before you begin, or a machine with one."
    )


def _value(name: str, where: str, results: Path) -> str:
    try:
        return _found(name, results)
    except (ConfigError, ValueError) as err:
        numbers = "{{file.json:path.to.number|.2f}}, {{fact:path.to.number|d}}"
        fix = f"Write {{{{card:1.3}}}}, {numbers}, {{{{repository}}}} or {{{{version}}}}."
        raise ConfigError(f"{{{{{name}}}}}: {err}", where=where, fix=fix) from err


def _found(name: str, results: Path) -> str:
    if name == "repository":
        return repository()
    if name == "version":
        return __version__
    if name.startswith("card:"):
        return exercises.find(name.removeprefix("card:")).card()
    match = re.fullmatch(r"([\w-]+\.json|fact):([^|]+)\|(.+)", name)
    if match is None:
        raise ConfigError("unknown placeholder")
    if match[1] == "fact":
        return format(_follow(facts.TABLE, match[2].split(".")), match[3])
    return format(number(results / match[1], match[2]), match[3])


def number(path: Path, keys: str) -> float:
    """The number under dotted keys of a JSON file: names, list indices, or * for the mean over a list.

    Raises ConfigError where the file or a key is missing, or where a finite number is not what stands there.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path.name} in {path.parent.name}/")
    return _follow(_loaded(path), keys.split("."))


@cache
def _loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _follow(value: Any, keys: list[str]) -> float:
    """What stands under `keys`.

    >>> _follow({"a": [{"b": 1}, {"b": 4}]}, ["a", "*", "b"])
    2.5
    """
    for depth, key in enumerate(keys):
        if key == "*" and isinstance(value, list | dict) and value:
            items = value.values() if isinstance(value, dict) else value
            return statistics.fmean(_follow(item, keys[depth + 1 :]) for item in items)
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(f"nothing stands under '{'.'.join(keys[: depth + 1])}'") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"'{'.'.join(keys)}' is not a number but {value!r:.40}")
    return value
