"""One word per thing: the engine's names keep to docs/glossary.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "rslib").rglob("*.py"))
HOUSE_WORDS = (
    "prompt response reward policy reference reward_model gold best_of_n select fine_tune kl sample score "
    "evaluate run round arm control proxy entropy selection_gap unique_ratio truncation_rate"
).split()
# Names that a foreign library fixes; they may be bound as they are.
FOREIGN = {"generation_config"}


def rows(section: str) -> list[list[str]]:
    """The cells of the one table in a section of the glossary, its head left out."""
    text = GLOSSARY.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def forbidden() -> dict[str, str]:
    """Synonyms set in `code`, each with the term that the house uses."""
    return {
        word: term for term, synonyms, _ in rows("Terms") for word in re.findall(r"`([a-z_]+)`", synonyms)
    }


def parts(name: str) -> list[str]:
    """`sampleAnswers_v2` -> sample, answers, v2.

    >>> parts("BestAnswers_v2")
    ['best', 'answers', 'v2']
    """
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


def uses(name: str, word: str) -> bool:
    """Whether `word` (or its plural) is a run of whole parts of `name`."""
    return re.search(rf"(^|_){word}(s|es)?(_|$)", "_".join(parts(name))) is not None


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Everything a file names itself: functions, classes, arguments, variables, attributes, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_of_the_engine_uses_a_synonym(path):
    words = forbidden()
    if "rl" in path.relative_to(ROOT).parts:  # the words of reinforcement learning are at home there
        words = {
            word: term
            for word, term in words.items()
            if word not in ("rollout", "trajectory", "critic", "ref")
        }
    names = {*defined_names(ast.parse(path.read_text(encoding="utf-8"))), (path.stem, 0)}
    wrong = [
        f"line {line}: '{name}' says '{word}'; the house word is '{term}'"
        for name, line in sorted(names, key=lambda pair: pair[1])
        for word, term in words.items()
        if name not in FOREIGN and uses(name, word)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_search_finds_a_synonym_and_leaves_other_words_alone():
    assert uses("best_answers", "answer") and uses("RolloutBuffer", "rollout") and uses("ref_logprob", "ref")
    assert not uses("prefix", "ref") and not uses("generate", "generation") and not uses("preference", "ref")
    assert {"completion", "rollout", "actor", "answer", "generation"} <= set(forbidden())


def test_every_term_stands_once_and_has_its_meaning():
    for section, width in (("Terms", 3), ("Columns of the tables", 2), ("Flaws", 4)):
        table = rows(section)
        assert all(len(row) == width and row[-1] for row in table)
        assert len({row[0] for row in table}) == len(table)


def test_every_word_of_the_house_is_defined():
    terms = {"_".join(parts(term)) for term, *_ in rows("Terms")}
    assert set(HOUSE_WORDS) <= terms, sorted(set(HOUSE_WORDS) - terms)


def test_every_public_verb_is_defined():
    import rslib

    terms = {"".join(parts(term)) for term, *_ in rows("Terms")}
    verbs = {
        name.lower() for name in rslib.__all__ if not name.startswith(("_", "load_")) and name != "errors"
    }
    assert verbs <= terms, sorted(verbs - terms)


def test_every_arm_of_the_report_is_a_term_or_named_in_one():
    meaning = next(row[2] for row in rows("Terms") if row[0] == "arm")
    assert all(arm in meaning for arm in ("base", "random", "best_of_n"))


def test_every_flaw_stands_in_the_catalogue_with_its_id_and_stage():
    from rslib.flaws import FLAWS

    listed = {name: (flaw_id, stage) for name, flaw_id, stage, _ in rows("Flaws")}
    assert listed == {flaw.name: (flaw.id, flaw.stage) for flaw in FLAWS.values()}


def test_every_column_of_the_responses_table_is_defined():
    columns = [name for name, _ in rows("Columns of the tables")]
    made = "prompt_id prompt sample_id response token_ids token_logprobs logprob finish_reason seed reward"
    assert columns == made.split()
