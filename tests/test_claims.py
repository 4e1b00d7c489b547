"""Every sentence of a notebook that compares is made by an interval, or listed with the reason why not.

An interval makes it at build time, through `{{claim:...}}`, or in the notebook, through `evaluation.claim`
and `evaluation.verdict`. `tests/comparisons.txt` holds the others: notebook, how the sentence begins, reason.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.build.placeholders import expand
from autograder.build.release import read, scripts
from rslib.errors import ConfigError
from tests.rhythm import prose

COMPARES = re.compile(
    r"\b(?:\w+er|more|less|worse|better)\s+than\b|\b(?:beats?|outperforms?|falls? behind|wins?|gain(?:s|ed)"
    r"|rose|fell|rises|falls|overtakes?|as (?:much|many|good) as)\b"
    r"|\b(?:above|below) (?:its|the|where)\b[^.]*\b(?:start|base|began)|\bcan (?:raise|lower)\b",
    re.IGNORECASE,
)
REASONS = (
    *("definition", "mathematics", "source", "by hand", "question", "instruction", "shown above"),
    "committed numbers",
)
"""Why a sentence needs no interval of a run: each line of the list begins its reason with one of these."""
LIST = Path(__file__).with_name("comparisons.txt")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a cell's prose, every item of a list and every cell of a table by itself."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", lambda placeholder: placeholder[0].replace("|", "¦"), text)
    for piece in re.split(r"(?<=[.!?:])\s+(?=[A-Z*`\[({])|\n\s*\n|\n\s*(?=[-*|#]|\d+\.\s)|\|", text):
        if piece.strip():
            yield " ".join(piece.replace("¦", "|").split())


def comparing(text: str) -> list[str]:
    """Those that compare and are not made by an interval."""
    said = (s for s in sentences(text) if "{{claim:" not in s and not s.endswith("?"))
    return [s for s in said if COMPARES.search(prose(s))]


def listed() -> list[tuple[str, str, str]]:
    """(notebook, beginning of a sentence, reason) of the list."""
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return [(line[:2], *line[5:].rsplit(" | ", 1)) for line in lines]


@pytest.mark.parametrize("script", scripts(), ids=lambda p: p.stem)
def test_every_sentence_that_compares_is_made_by_an_interval_or_listed_with_its_reason(script):
    known = [beginning for number, beginning, _ in listed() if number == script.stem[:2]]
    found = [s for cell in read(script) if cell.kind == "markdown" for s in comparing(cell.source)]
    loose = [s for s in found if not s.startswith(tuple(known))]
    fix = "Write {{claim:file.json:path|supported|the sentence}}, or evaluation.claim in code, or enter it in"
    assert not loose, "\n".join([f"{fix} {LIST.name} with a reason:", *loose])


def test_the_list_gives_reasons_and_names_no_sentence_that_is_gone():
    text = {p.stem[:2]: [s for c in read(p) for s in comparing(c.source)] for p in scripts()}
    for number, beginning, reason in listed():
        assert reason.startswith(REASONS) and len(beginning) >= 15, beginning
        assert any(s.startswith(beginning) for s in text[number]), (
            f"{number}: nothing begins with {beginning!r}"
        )


@pytest.mark.parametrize(
    "text",
    [
        "Without it the same steps lead to high reward and gold below the start.",
        "- PPO beats RS-1 at equal responses.",
        "The smaller model is faster than the larger one.",
        "Greedy self-training can raise or lower the score.",
        "Here the policy gained two points.",
    ],
)
def test_a_sentence_that_compares_is_seen(text):
    assert comparing(f"First a word. {text}")


def test_what_an_interval_makes_and_what_compares_nothing_is_left_alone():
    assert not comparing("{{claim:rl.json:a.b|supported|PPO beats RS-1}}. Draw n responses. `x` is small.")


RESULTS = {
    "gain": {"difference": 1.2, "low": 0.9, "high": 1.5},
    "drop": {"mean": -1.2, "low": -1.5, "high": -0.9},
    "runs": {"0": {"gold": 0.5}, "1": {"gold": -0.5}, "2": {"gold": 0.3}},
}


@pytest.fixture
def made(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(RESULTS), encoding="utf-8")
    return lambda text: expand(f"{{{{claim:a.json:{text}}}}}", "a cell", tmp_path)


def test_an_interval_becomes_its_sentence(made):
    assert made("gain|PPO|RS-1|gold") == "PPO beats RS-1 by +1.20 gold [+0.90, +1.50]."
    assert made("drop|PPO|RS-1").startswith("PPO falls behind RS-1 by -1.20 gold")
    assert made("runs.*.gold|PPO|RS-1").startswith("PPO is not separable from RS-1: +0.10 gold [-1.21")


def test_a_sentence_of_ours_stands_where_its_interval_bears_it_out(made):
    assert made("gain|supported|PPO gains gold") == "PPO gains gold"
    assert made("drop|contradicted|it did not gain") == "it did not gain"
    assert made("runs.*.gold|not separable|nobody can tell") == "nobody can tell"


@pytest.mark.parametrize("word", ["contradicted", "not separable"])
def test_a_sentence_that_its_interval_does_not_bear_out_stops_the_build(made, word):
    with pytest.raises(ConfigError, match=r"says .*, and \[\+0.90, \+1.50\] says supported"):
        made(f"gain|{word}|PPO falls behind")


@pytest.mark.parametrize(
    "text", ["gain", "gain|supported", "lost|supported|x", "gain.low|supported|x", "runs.*.x|a|b"]
)
def test_a_claim_without_an_interval_stops_the_build(made, text):
    with pytest.raises(ConfigError):
        made(text)
