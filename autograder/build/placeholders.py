"""Placeholders in the course's text: exercise cards, numbers from result files, address and version.

    {{card:1.3}}                                               the exercise's heading and card
    {{rounds.json:results.0.arms.base.gold.mean|.2f}}          a number of docs/results/rounds.json
    {{rounds.json:results.*.arms.base.gold.mean|.2f}}          its mean over all entries
    {{fact:passes.rs|d}}                                       a number of the notebooks' table of facts
    {{claim:rl.json:results.*.ppo.kl|PPO|its start|nats}}      the sentence of an interval
    {{claim:rl.json:results.*.ppo.kl|supported|PPO moves}}     a sentence of ours, held to its interval
    {{repository}} {{version}}                                 from pyproject.toml and the package

No number of the course's text is typed, and no comparison. A claim's interval is a {low, high} of the file,
or over seeds where a * gives one number for each. What is missing stops the build, and so does a sentence of
ours whose word (supported, contradicted, not separable) is not the interval's.
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
from rslib.evaluation import OPEN, claim
from rslib.formatting import ends_text
from rslib.intervals import CONTRADICTED, SUPPORTED, over_seeds, verdict_of

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


def words_line() -> str:
    """Where words and flaws are looked up: on the page of this version, or beside the notebooks' folder."""
    address = repository()
    docs = ".." if address.endswith(NO_ADDRESS) else f"{address}/blob/v{__version__}"
    page = f"{docs}/docs/glossary.md"
    return f"Look up words in the [glossary]({page}), flaws in the [list of flaws]({page}#flaws)."


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
    if name.startswith("claim:"):
        return _claim(name.removeprefix("claim:"), results)
    match = re.fullmatch(r"([\w-]+\.json|fact):([^|]+)\|(.+)", name)
    if match is None:
        raise ConfigError("unknown placeholder")
    if match[1] == "fact":
        return format(_follow(facts.TABLE, match[2].split(".")), match[3])
    return format(number(results / match[1], match[2]), match[3])


def _claim(text: str, results: Path) -> str:
    """The sentence that an interval supports, or ours where the interval bears it out."""
    match = re.fullmatch(r"([\w-]+\.json):([^|]+)\|([^|]+)\|([^|]+)(?:\|([^|]+))?", text)
    if match is None:
        raise ConfigError("a claim is file.json:path|first|second|unit, or file.json:path|verdict|sentence")
    file, keys, first, second, unit = match.groups()
    interval = _interval(results / file, keys)
    if first not in (SUPPORTED, CONTRADICTED, OPEN):
        return claim(interval, first, second, unit or "gold")
    if (measured := verdict_of(interval)) != first:
        raise ConfigError(f"{second!r} says {first}, and {ends_text(interval, '+')} says {measured}")
    return second


def _interval(path: Path, keys: str) -> dict[str, float]:
    """Mean, low and high under dotted keys: as they stand, or over seeds where a * gives one value each."""
    content, names = _content(path), keys.split(".")
    if "*" in names:
        return over_seeds(_each(content, names))
    if not isinstance(_reach(content, names), dict):
        raise ConfigError(f"'{keys}' is no interval: a {{mean, low, high}}, or * for one number a seed")
    mean = "difference" if "difference" in _reach(content, names) else "mean"
    return {
        end: _follow(content, [*names, key])
        for end, key in (("mean", mean), ("low", "low"), ("high", "high"))
    }


def number(path: Path, keys: str) -> float:
    """The number under dotted keys of a JSON file: names, list indices, or * for the mean over a list.

    Raises ConfigError where the file or a key is missing, or where a finite number is not what stands there.
    """
    return _follow(_content(path), keys.split("."))


def _content(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"there is no file {path.name} in {path.parent.name}/")
    return _loaded(path)


@cache
def _loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _follow(value: Any, keys: list[str]) -> float:
    """The number under `keys`, with * the mean of those under it.

    >>> _follow({"a": [{"b": 1}, {"b": 4}]}, ["a", "*", "b"])
    2.5
    """
    if "*" in keys:
        return statistics.fmean(_each(value, keys))
    value = _reach(value, keys)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"'{'.'.join(keys)}' is not a number but {value!r:.40}")
    return value


def _each(value: Any, keys: list[str]) -> list[float]:
    """The numbers under the first * of `keys`, one for each entry."""
    star = keys.index("*")
    items = _reach(value, keys[:star])
    if not isinstance(items, list | dict) or not items:
        raise ConfigError(f"nothing stands under '{'.'.join(keys[: star + 1])}'")
    return [
        _follow(item, keys[star + 1 :]) for item in (items.values() if isinstance(items, dict) else items)
    ]


def _reach(value: Any, keys: list[str]) -> Any:
    """What stands under `keys`."""
    for depth, key in enumerate(keys):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(f"nothing stands under '{'.'.join(keys[: depth + 1])}'") from None
    return value
