"""The page for people from other libraries: what stands under "Here" runs, and theirs is what TRL takes."""

import ast
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "coming_from.md").read_text(encoding="utf-8")


def blocks(info: str) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", PAGE, flags=re.M | re.S)


OURS, THEIRS = blocks("python"), blocks("python theirs")


def calls(code: str, library: str) -> list[ast.Call]:
    """The calls of names that the code imports from a library."""
    tree = ast.parse(code)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == library]
    names = {alias.name for node in imports for alias in node.names}
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in made if isinstance(call.func, ast.Name) and call.func.id in names]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The names after all blocks under "Here" have run, one after the other, as a reader would."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reader"))
        for number, block in enumerate(OURS):
            exec(compile(block, f"coming_from.md, block {number + 1}", "exec"), names)
    return names


def test_what_stands_under_here_runs_and_gives_what_it_says(space):
    assert len(OURS) >= 9 and set(PAGE.split()) >= {"**Here**"}
    assert len(space["responses"]) == 16 * 4 and len(space["kept"]) == 16
    assert len(space["answered"]) == 4 and space["asked"]["prompt"][0][0]["role"] == "system"
    assert space["rows"].column_names == ["prompt", "completion"]
    assert space["preferences"].column_names == ["prompt", "chosen", "rejected"]
    assert len({space[name].fingerprint() for name in ("policy", "tuned", "by_pairs", "by_grpo")}) == 4
    assert set(space["trained"].model.config.id2label) == {0}


def test_the_same_call_again_finds_the_run(space):
    assert space["again"].to_dict() == space["report"].to_dict()


def test_the_defaults_that_the_page_names_for_us_are_ours(space):
    from rslib import rl

    assert f"`kl_coefficient` ({rl.Loop().kl_coefficient})" in PAGE


@pytest.mark.trl
def test_what_the_page_shows_of_trl_is_taken_by_trl():
    trl = pytest.importorskip("trl")
    checked = [call for code in THEIRS for call in calls(code, "trl")]
    assert len(checked) >= 8
    for call in checked:
        given = {word.arg: None for word in call.keywords}
        inspect.signature(getattr(trl, call.func.id)).bind(*call.args, **given)


@pytest.mark.trl
def test_the_defaults_that_the_page_names_are_trls():
    trl = pytest.importorskip("trl")

    def default(config: type, name: str) -> object:
        return config.__dataclass_fields__[name].default

    assert (default(trl.GRPOConfig, "num_generations"), default(trl.RLOOConfig, "num_generations")) == (8, 2)
    assert (default(trl.GRPOConfig, "beta"), default(trl.RLOOConfig, "beta")) == (0.0, 0.05)
    assert default(trl.GRPOConfig, "max_completion_length") == 512
    assert default(trl.GRPOConfig, "loss_type") == "dapo"
    assert (default(trl.SFTConfig, "learning_rate"), default(trl.GRPOConfig, "learning_rate")) == (2e-5, 1e-6)
    assert not hasattr(trl, "PPOTrainer") and not hasattr(trl.extras, "BestOfNSampler")
