"""The command line: the road by hand, what it prints, its exit codes, and that standard error stays empty."""

import itertools
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rslib
from rslib import store
from rslib.__main__ import COMMANDS, FORWARDED, main
from rslib.errors import ConfigError
from rslib.flaws import FLAWS

ROOT = Path(__file__).parents[1]
SHORT = ["--max-new-tokens", "16"]


def done(*arguments):
    assert main([str(a) for a in arguments]) == 0


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """The five stages, one command each, in one process; returns their folder."""
    at = tmp_path_factory.mktemp("road")
    done("sample", "--policy", "tiny", "--prompts", 6, "--n", 4, *SHORT, "--out", at / "responses")
    done("score", "--reward-model", "tiny", "--input", at / "responses", "--out", at / "scored")
    done("select", "--in", at / "scored", "--selector", "best_of_n", "--out", at / "kept")
    done("finetune", at / "kept", "--policy", "tiny", "--epochs", 1, "--out", at / "tuned")
    done(
        "evaluate",
        "--policy",
        at / "tuned",
        "--baseline",
        "tiny",
        "--reward-model",
        "tiny",
        "--prompts",
        4,
        "--samples-per-prompt",
        2,
        *SHORT,
        "--out",
        at / "evaluated",
    )
    return at


def test_each_stage_reads_the_folder_of_the_one_before(road):
    responses, scored, kept = (store.read_table(road / name) for name in ("responses", "scored", "kept"))
    assert len(responses) == len(scored) == 24 and len(kept) == 6
    assert "reward" in scored.column_names and "reward" not in responses.column_names
    assert rslib.load_policy(str(road / "tuned")).fingerprint() != rslib.load_policy("tiny").fingerprint()
    report = json.loads((road / "evaluated" / "report.json").read_text())
    assert set(report["rounds"][0]["arms"]) == {"base", "tuned"}
    assert (road / "evaluated" / "report.html").stat().st_size > 1000


def test_the_stages_by_hand_give_what_the_functions_give(road):
    policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
    prompts = rslib.load_prompts("tiny", limit=6)
    responses = rslib.sample(policy, prompts, n=4, max_new_tokens=16, show_progress=False)
    kept = rslib.select(rslib.score(reward_model, responses, show_progress=False), "best_of_n")
    assert store.read_table(road / "responses")["response"][:] == responses["response"][:]
    assert store.read_table(road / "kept")["response"][:] == kept["response"][:]


def test_a_finished_stage_is_cached(road, capsys):
    done("sample", "--policy", "tiny", "--prompts", 6, "--n", 4, *SHORT, "--out", road / "responses")
    assert capsys.readouterr().out.startswith("sample: 24 responses, cached\n")


def test_a_finished_fine_tune_and_a_finished_evaluation_are_found_again(road, capsys):
    weights = road / "tuned" / "model.safetensors"
    before = (weights.stat().st_ino, weights.stat().st_mtime_ns)
    done("finetune", road / "kept", "--policy", "tiny", "--epochs", 1, "--out", road / "tuned")
    assert capsys.readouterr().out.startswith("finetune: cached\n")
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == before
    settings = ["--prompts", 4, "--samples-per-prompt", 2, *SHORT, "--out", road / "evaluated"]
    capsys.readouterr()
    done("evaluate", "--policy", road / "tuned", *settings)
    assert capsys.readouterr().out.startswith("base sample: 8 responses, cached\n")


def test_a_fine_tune_that_was_killed_while_its_files_were_put_in_place_is_done_again(road, tmp_path):
    fine_tune = ["finetune", road / "kept", "--policy", "tiny", "--epochs", 1, "--out", tmp_path]
    done(*fine_tune)
    (tmp_path / "stage.json").unlink()  # it comes last, so this is what such a kill leaves
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.rslib-tmp").mkdir()
    (tmp_path / "model.rslib-tmp" / "model.safetensors").write_bytes(b"half")
    done(*fine_tune)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (road / "tuned" / name).read_bytes()
    assert not list(tmp_path.glob("*rslib-tmp*"))


def test_every_stage_refuses_a_folder_that_holds_the_result_of_other_settings(road, capsys):
    inputs = {"score": "responses", "select": "scored", "finetune": "kept"}
    for stage, folder in inputs.items():
        out = "kept" if stage != "select" else "tuned"
        assert main([stage, str(road / folder), "--out", str(road / out)]) == 1
        assert "this folder holds the result of other settings" in capsys.readouterr().err
    assert main(["finetune", str(road / "kept"), "--epochs", "2", "--out", str(road / "tuned")]) == 1
    assert "finetune.epochs was 1, is 2" in capsys.readouterr().err


def test_another_n_in_the_same_folder_is_refused_by_name(road, capsys):
    assert main(["sample", "--prompts", "6", "--n", "2", *SHORT, "--out", str(road / "responses")]) == 1
    assert "n was 4, is 2" in capsys.readouterr().err


def test_a_selector_takes_its_options(road, tmp_path):
    done(
        "select",
        road / "scored",
        "--selector",
        "top_k_per_prompt",
        "--option",
        "k=2",
        "--out",
        tmp_path / "kept",
    )
    assert len(store.read_table(tmp_path / "kept")) == 12


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["runn"], "run"),
        (["sample", "--pollicy", "tiny", "--out", "x"], "--policy"),
        (["run", "--promts", "3", "--out", "x"], "--prompts"),
    ],
)
def test_a_misspelt_command_or_option_is_refused_with_the_closest_name(capsys, arguments, near):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"did you mean '{near}'?" in capsys.readouterr().err


def test_an_option_is_never_guessed_from_its_beginning(capsys):
    with pytest.raises(SystemExit):
        main(["sample", "--pol", "tiny", "--out", "x"])
    assert "did you mean '--policy'" in capsys.readouterr().err


def test_a_stage_without_its_input_says_so(capsys, tmp_path):
    assert main(["score", "--out", str(tmp_path)]) == 2
    assert "--input" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*COMMANDS])
def test_every_command_explains_its_options(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m rslib {command}" in shown


def test_without_a_command_all_are_listed(capsys):
    done()
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in (*COMMANDS, *FORWARDED))


def test_the_world_shows_prompts_and_what_the_judge_counts(capsys):
    done("world", "--split", "test", "--limit", 2)
    assert len(capsys.readouterr().out.splitlines()) == 3
    prompt = rslib.load_prompts("tiny", limit=1)["prompt"][0]
    done("world", "--prompt", prompt, "--response", "Of course!")
    shown = capsys.readouterr().out
    assert "gold" in shown and "polite" in shown


def test_the_flaws_are_listed(capsys):
    done("flaw")
    assert len(capsys.readouterr().out.splitlines()) == len(FLAWS)


def test_the_version_is_printed_without_loading_anything_heavy():
    code = (
        "import sys; from rslib.__main__ import main; main(['--version']); "
        "assert not {'torch', 'numpy', 'datasets', 'transformers'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip(), found.stderr) == (0, rslib.__version__, "")


def test_the_console_command_is_the_module():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["rslib"].partition(":")
    command = f"import {module}; {module}.{function}()"
    for arguments, code in ((["--version"], 0), (["runn"], 2)):
        ran = subprocess.run([sys.executable, "-c", command, *arguments], cwd=ROOT, capture_output=True)
        as_module = subprocess.run([sys.executable, "-m", "rslib", *arguments], cwd=ROOT, capture_output=True)
        assert ran.returncode == as_module.returncode == code
        assert (ran.stdout, ran.stderr) == (as_module.stdout, as_module.stderr)


@pytest.mark.parametrize(
    "command", ["run", "demo", "flaw", "sample", "score", "finetune", "evaluate", "doctor"]
)
def test_every_command_that_loads_a_model_takes_a_device_and_a_dtype(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert "--device" in shown and "--dtype" in shown


def test_a_dtype_by_command_is_that_of_every_model_and_stays_that_of_its_run(tmp_path, capsys):
    small = ["--n", 2, "--prompts", 2, "--eval-prompts", 2, "--epochs", 1, "--eval-samples-per-prompt", 1]
    small += ["--max-new-tokens", 4, "--eval-max-new-tokens", 4, "--out", tmp_path]
    done("run", *small, "--dtype", "bfloat16", "--device", "cpu")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["device"]["dtype"] == "torch.bfloat16"
    assert main([str(word) for word in ("run", *small)]) == 1
    assert "was tiny in bfloat16" in (err := capsys.readouterr().err) and "is tiny in float32" in err
    for wrong in ({"--dtype": "float61"}, {"--device": "cuda:99"}, {"--device": "tpu"}):
        for command in (["run", *small], ["sample", "--out", tmp_path / "x"], ["doctor"]):
            assert main([str(word) for word in (*command, *next(iter(wrong.items())))]) in (1, 2)


def test_a_whole_run_prints_its_table_and_nothing_on_standard_error(tmp_path):
    out = tmp_path / "run"
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "rslib",
            "run",
            "--n",
            "2",
            "--prompts",
            "4",
            "--eval-prompts",
            "4",
            "--epochs",
            "1",
            "--eval-samples-per-prompt",
            "1",
            *SHORT,
            "--eval-max-new-tokens",
            "16",
            "--out",
            str(out),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "best-of-2" in found.stdout and "random-of-2" in found.stdout
    assert (out / "report.json").exists() and (out / "report.html").exists()
    # and a report can be printed again
    done("report", out)


# The next command, and which models made what is read


@pytest.fixture(scope="module")
def others(model_folder):
    """A policy and a reward model of somebody's own."""
    return str(model_folder("llama")), str(model_folder("llama", "reward"))


def next_command(capsys):
    """The command that the last line names, as arguments."""
    line = capsys.readouterr().out.splitlines()[-1]
    return shlex.split(line.partition("next: python -m rslib ")[2])


def walk(capsys, *arguments):
    """Run a command, then each that the one before has printed, word by word; the commands."""
    commands, words = [], [str(word) for word in arguments]
    while words and words[0]:
        commands.append(words)
        done(*words)
        words = next_command(capsys)
    return commands


def options(words):
    return {word: after for word, after in itertools.pairwise(words) if word.startswith("--")}


def test_the_printed_commands_run_as_they_stand_and_carry_all_that_was_said(others, tmp_path, capsys):
    policy, reward_model = others
    questions = tmp_path / "my questions"
    questions.mkdir()
    (questions / "train.txt").write_text("Hi\nWhat is snow?\n" + "b" * 999 + "\n")
    (questions / "valid.txt").write_text("Who are you?\nWhere is it?\n" + "b" * 999 + "\n")
    said = {"--max-new-tokens": 6, "--batch-size": 3, "--device": "cpu", "--dtype": "bfloat16"}
    said |= {"--context": 200, "--too-long": "drop", "--date": "2025-03-04", "--workers": 1}
    told = ["--policy", policy, "--reward-model", reward_model, "--prompts", questions, "--n", 2, "--seed", 5]
    told += itertools.chain(*said.items())
    commands = walk(capsys, "sample", *told, "--temperature", 0.5, "--out", tmp_path / "a run" / "drawn")
    assert [words[0] for words in commands] == ["sample", "score", "select", "finetune", "evaluate"]
    folders = [Path(options(words)["--out"]) for words in commands]
    assert [folder.name for folder in folders] == [
        "drawn", "drawn-score", "drawn-select", "drawn-finetune", "drawn-evaluate"
    ]  # fmt: skip
    sample, score, select, finetune, evaluate = map(options, commands)
    limits = {name: str(value) for name, value in said.items()}
    assert score["--reward-model"] == evaluate["--reward-model"] == reward_model
    assert finetune["--policy"] == evaluate["--baseline"] == policy
    assert select["--seed"] == finetune["--seed"] == "5" and "--seed" not in evaluate
    assert limits.items() <= evaluate.items() and evaluate["--prompts"] == str(questions)
    for carried in ({"--device", "--dtype", "--context", "--date", "--workers"},):
        assert carried <= score.keys() and carried <= finetune.keys()
    report = json.loads((folders[-1] / "report.json").read_text())
    assert report["settings"]["baseline"] == policy
    assert report["settings"]["evaluate"]["max_new_tokens"] == 6
    assert report["rounds"][0]["arms"]["base"]["responses"] == 2 * 4
    # Without any model named, each stage takes the recorded one.
    done(
        "finetune",
        folders[2],
        "--seed",
        5,
        "--context",
        200,
        *["--dtype", "bfloat16"],
        "--out",
        tmp_path / "b",
    )
    tuned, again = (rslib.load_policy(str(folder)) for folder in (folders[3], tmp_path / "b"))
    assert tuned.fingerprint() == again.fingerprint()


@pytest.mark.parametrize(
    "told",
    [
        ["--prompts", 4],
        ["--prompts", "everyday", "--policy", "tiny", "--system", "-Be brief, 'ok'?"],
        ["--prompts", "FILE"],
    ],
)
def test_the_printed_commands_run_for_prompts_that_come_along_and_for_one_file(told, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Hi\nWhat is snow?\n")
    told = [tmp_path / "p.txt" if word == "FILE" else word for word in told]
    told = [
        "--system=-Be brief, 'ok'?" if "-Be" in str(word) else word for word in told if word != "--system"
    ]
    capsys.readouterr()
    commands = walk(capsys, "sample", *told, "--n", 2, "--max-new-tokens", 4, "--out", tmp_path / "sample")
    assert [Path(options(words)["--out"]).name for words in commands] == [words[0] for words in commands]
    assert len(commands) == 5


def test_an_evaluation_on_the_prompts_that_were_trained_on_says_so(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Hi\nWhat is snow?\n")
    for name in ("other.txt", "p.txt"):
        assert "so the evaluation flatters" not in capsys.readouterr().out
        (tmp_path / "other.txt").write_text("Who?\n")
        small = ["--max-new-tokens", 4]
        if name == "other.txt":
            done("sample", "--prompts", tmp_path / "p.txt", "--n", 2, *small, "--out", tmp_path / "sample")
            for _ in range(3):
                done(*next_command(capsys))
        asked = ["--prompts", tmp_path / name, "--out", tmp_path / f"of {name}"]
        done("evaluate", "--policy", tmp_path / "finetune", *small, *asked)
    assert "so the evaluation flatters" in capsys.readouterr().out


def test_no_command_works_in_the_folder_of_a_model(others, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Hi\n")
    before = sorted(path.name for path in Path(others[0]).iterdir())
    for command in ("sample", "run", "evaluate"):
        assert (
            main([command, "--policy", others[0], "--prompts", str(tmp_path / "p.txt"), "--out", others[0]])
            == 1
        )
        assert "this is the folder of a model" in capsys.readouterr().err
    assert sorted(path.name for path in Path(others[0]).iterdir()) == before


def test_a_date_that_is_none_is_refused_by_every_command(tmp_path, capsys):
    for command in (["sample", "--prompts", "2"], ["run"]):
        assert main([*command, "--date", "27.11.2026", "--out", str(tmp_path / "x")]) == 2
        assert "Write it as 2024-07-26" in capsys.readouterr().err


def test_a_baseline_with_other_tokens_is_refused(others, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Hi\nWho?\n")
    asked = ["--prompts", str(tmp_path / "p.txt"), "--max-new-tokens", "4", "--out", str(tmp_path / "x")]
    assert main(["evaluate", "--policy", others[0], "--reward-model", others[1], *asked]) == 2
    assert "the baseline has other tokens than the policy" in capsys.readouterr().err
    policy, reward_model = rslib.load_policy(others[0]), rslib.load_reward_model(others[1])
    with pytest.raises(ConfigError, match="other tokens"):
        tiny = rslib.load_policy("tiny")
        rslib.evaluate(policy, baseline=tiny, reward_model=reward_model, prompts=["Hi"], max_new_tokens=4)
    with pytest.raises(ConfigError, match="`path` of a loaded one"):
        rslib.run(policy=policy, out=tmp_path / "y")


def test_rows_of_another_policy_and_rewards_of_another_model_are_refused_unless_told(
    others, road, tmp_path, capsys
):
    policy, reward_model = others
    assert main(["finetune", str(road / "kept"), "--policy", policy, "--out", str(tmp_path / "a")]) == 2
    assert "by another policy: tiny" in capsys.readouterr().err
    allowed = ["--allow-other-policy", "--epochs", 1]
    done("finetune", road / "kept", "--policy", policy, *allowed, "--out", tmp_path / "b")
    again = ["score", str(road / "scored"), "--reward-model", "tiny-unbiased", "--out", str(tmp_path / "c")]
    assert main(again) == 2
    assert "by another reward model: tiny" in capsys.readouterr().err
    done(*again, "--allow-other-reward-model")


def test_the_embedded_reward_model_scores_no_other_policys_responses_unasked(others, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Hi\n")
    drawing = ["--prompts", tmp_path / "p.txt", "--n", 1, "--max-new-tokens", 4]
    done("sample", "--policy", others[0], *drawing, "--out", tmp_path / "s")
    assert "--reward-model REWARD_MODEL" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "s"), "--out", str(tmp_path / "r")]) == 2
    assert "no reward model is named" in capsys.readouterr().err


def test_the_command_that_samples_checks_the_reward_model_that_it_is_told_of(tmp_path, capsys):
    arguments = ["sample", "--reward-model", "tiny", "--prompts", "4", "--max-new-tokens", "250"]
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert "the reward model's context is 256" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.arrow"))


def test_by_hand_too_what_was_drawn_and_scored_stays_when_a_prompt_is_removed(tmp_path, capsys):
    drawing = ["--prompts", tmp_path / "p.txt", "--n", 2, *SHORT, "--out", tmp_path / "s"]
    for prompts in ("One egg?\nTwo eggs?\nThree eggs?\n", "One egg?\nThree eggs?\n"):
        (tmp_path / "p.txt").write_text(prompts)
        capsys.readouterr()
        done("sample", *drawing)
        done("score", tmp_path / "s", "--reward-model", "tiny", "--out", tmp_path / "r")
    shown = capsys.readouterr().out
    assert "sample: what was done for 2 prompts before is used again" in shown
    assert "score: what was done for 2 prompts before is used again" in shown
    assert store.read_table(tmp_path / "r")["prompt"][:] == ["One egg?"] * 2 + ["Three eggs?"] * 2
    assert main([str(word) for word in ["sample", *drawing, "--temperature", "0.5"]]) == 1
    assert "temperature was 1.0, is 0.5" in capsys.readouterr().err
