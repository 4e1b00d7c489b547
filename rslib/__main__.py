"""The command line, `rslib COMMAND` or `python -m rslib COMMAND`: each stage reads a folder and writes one.

    sample -> score -> select -> finetune -> evaluate        the road by hand
    run                                                      the same road as one resumable run

Options come from the settings' dataclasses. Results and progress go to standard output, errors to standard
error: exit code 2 for input that cannot work, 1 for what went wrong on the way, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from rslib import __version__
from rslib.config import EvaluateConfig, FinetuneConfig, RunConfig, SampleConfig, closest, require
from rslib.errors import BudgetError, ConfigError, RSError, StoreError

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.reporting import Report
    from rslib.stages import Checkpoint, Models, Stages

_SECONDS_TO_STOP = 1.5
"""How long a computation may go on after Ctrl-C before it is ended; files are safe at any moment."""


# Options -------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Unknown options and commands are refused with the closest known one, exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\nTry: {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def refuse(self, kind: str, name: str, known: Iterable[str]) -> NoReturn:
        near = closest(name, list(known))
        self.error(f"unknown {kind} '{name}'" + (f"; did you mean '{near}'?" if near else ""))


def _number_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _option(text: str) -> tuple[str, Any]:
    """One `--option name=value`; the value is read as JSON where it is JSON.

    >>> _option("k=2"), _option("mode=mean")
    (('k', 2), ('mode', 'mean'))
    """
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


_TYPES = {"int | LoraSettings": int, "int": int, "float": float, "str": str, "int | str": _number_or_text}


def _add_config(parser: argparse.ArgumentParser, kind: type, names: Sequence[str] = ()) -> None:
    """One option per field of a config, or per field of these names; its help is the field's own."""
    for field in dataclasses.fields(kind):
        if (names and field.name not in names) or any(a.dest == field.name for a in parser._actions):
            continue
        text = field.metadata["help"].replace("%", "%%")
        flags = _flags_of(f"--{field.name.replace('_', '-')}")
        if field.name == "options":
            flags = ["--option"]
            how = {"action": "append", "type": _option, "metavar": "NAME=VALUE"}
        elif field.type == "bool":
            how = {"action": "store_true"}
        else:
            text += f" (default: {field.default})"
            kind_of_value = _TYPES[str(field.type).removesuffix(" | None")]
            how = {"type": kind_of_value, "metavar": field.name.upper()}
        parser.add_argument(*flags, dest=field.name, help=text, default=argparse.SUPPRESS, **how)


def _flags_of(flag: str) -> list[str]:
    """The flag with what else it is called: a reward need not come from a model."""
    return [flag, "--reward"] if flag == "--reward-model" else [flag]


def _add_model(parser: argparse.ArgumentParser, *names: str, default: str = "tiny") -> None:
    for name in names:
        function = " or module:function" if name == "reward-model" else ""
        text = f"the {name.replace('-', ' ')}: 'tiny', a folder, a hub id{function} (default: {default})"
        parser.add_argument(*_flags_of(f"--{name}"), default="tiny" if default == "tiny" else None, help=text)


_OF_MODELS = ("device", "dtype", "context", "date")
"""Options that say how models are loaded."""


def _add_input(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("input_positional", nargs="?", metavar="INPUT", help=what)
    parser.add_argument("--input", "--in", dest="input", metavar="DIR", help=what)


def _add_out(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--out", default=default, required=default is None, metavar="DIR", help="folder to write"
    )


def _config(args: argparse.Namespace, kind: type) -> Any:
    """The config that the command line asks for."""
    return kind(**_given(args, kind))


def _given(args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The fields of a config that the command line names."""
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(kind) if hasattr(args, f.name)}
    if "options" in given:
        given["options"] = dict(given["options"])
    return given


def _input(args: argparse.Namespace, what: str) -> str:
    """The input folder. Raises ConfigError where none is named."""
    folder = args.input or args.input_positional
    if folder is None:
        raise ConfigError("no input folder", where="--input", fix=f"Name the --out folder of {what}.")
    return folder


def _made_before(args: argparse.Namespace) -> tuple[Dataset, dict[str, Any]]:
    """The table in the input folder, and what made it."""
    from rslib.store import read_table

    folder = _input(args, "the stage before")
    return read_table(folder), _origin(folder)


# Which models made what is read ------------------------------------------------------------------------

_RECORDED = "the one that made the input, else tiny"
"""Which model a stage takes unless one is named."""


def _origin(folder: str) -> dict[str, Any]:
    """What the commands before have written of their models and settings beside their result."""
    from rslib.cache import read_json

    path = Path(folder) / "origin.json"
    return read_json(path) if path.is_file() else {}


_ROLES = ("policy", "reward_model", "baseline", "judge")


def _write_origin(args: argparse.Namespace, origin: dict[str, Any], **models: Checkpoint) -> dict[str, Any]:
    """Add models and options to what the commands before have written, and write it beside this result."""
    from rslib.cache import write_json

    origin = origin | {role: dataclasses.asdict(model) for role, model in models.items()}
    origin |= {"said": _said(args, origin)}
    write_json(Path(args.out) / "origin.json", origin)
    return origin


def _named(args: argparse.Namespace, option: str, origin: dict[str, Any], role: str) -> str:
    """The model that an option names, else the recorded one, else the embedded one.

    Raises ConfigError where the embedded reward model would score the responses of somebody's own policy.
    """
    policy = origin.get("policy", {}).get("path", "tiny")
    name = getattr(args, option) or origin.get(role, {}).get("path")
    if name is None and role == "reward_model" and policy != "tiny":
        what = f"no reward model is named for the responses of {policy}"
        raise ConfigError(what, where="--reward-model", fix="Name one: --reward-model MODEL.")
    return name or "tiny"


def _check_same(made: dict[str, Any] | None, model: Checkpoint, what: str, allowed: bool) -> None:
    """Raise ConfigError when `model` is not the recorded one; another dtype alone makes no other model."""
    if allowed or not made or made["fingerprint"] == model.fingerprint:
        return
    if made["path"] == model.path and made["dtype"] != model.dtype:
        return
    flag = what.replace(" ", "-")
    raise ConfigError(
        f"the input is by another {what}: {made['path']} [{made['fingerprint'][:12]}], "
        f"not {model.path} [{model.fingerprint[:12]}]",
        where=f"--{flag}",
        fix=f"Name --{flag} {made['path']}, or say --allow-other-{flag} if this is meant.",
    )


# The next command --------------------------------------------------------------------------------------

_ROAD = ("sample", "score", "select", "finetune", "evaluate")
_OF_ONE = ("command", "input", "input_positional", "out", "split", "options")
_OF_THE_EVALUATION = ("seed", "temperature")
"""Options that no later command takes over, and those that the evaluation has for itself, as in a run."""


def _said(args: argparse.Namespace, origin: dict[str, Any]) -> dict[str, Any]:
    """What this command and those before were told beside their models, by option."""
    said = {name: value for name, value in vars(args).items() if isinstance(value, (str, int, float))}
    said = {name: value for name, value in said.items() if name not in (*_OF_ONE, *_ROLES)}
    if isinstance(said.get("prompts"), int):  # of the embedded ones, which have a split for each command
        del said["prompts"]
    return origin.get("said", {}) | said


def _say_next(args: argparse.Namespace, what: str, origin: dict[str, Any], **given: str) -> None:
    """Print what is in `--out`, and the command that goes on from there, with all that is known."""
    following = _ROAD[_ROAD.index(args.command) + 1]
    known = origin.get("said", {}) | {role: origin[role]["path"] for role in _ROLES if role in origin} | given
    kept = _OF_THE_EVALUATION if following == "evaluate" else ()
    known |= {"out": _beside(args.out, args.command, following)}
    words = [following]
    for action in _parser_of(following)._actions:
        value = known.get(action.dest)
        if action.dest in kept or value in (None, action.default) or not action.option_strings:
            continue
        flag, text = action.option_strings[0], str(value)
        words += [flag] if action.nargs == 0 else [f"{flag}={text}"] if text[:1] == "-" else [flag, text]
    print(f"{what} in {args.out}; next: python -m rslib {shlex.join(words)}")


def _beside(out: str, command: str, following: str) -> str:
    """The folder of the next result.

    >>> _beside("runs/x", "sample", "score"), _beside("runs/x-score", "score", "select")
    ('runs/x-score', 'runs/x-select')
    """
    path = Path(out) if Path(out).name else Path(out).resolve()
    stem = path.name.removesuffix(command).removesuffix("-")
    return str(path.with_name(f"{stem}-{following}" if stem else following))


# Where the work is done ----------------------------------------------------------------------------------


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("rslib", "vllm"), help="what draws responses (default: rslib)")
    parser.add_argument(
        "--vllm-url", metavar="URL", help="a vLLM server; without one vLLM runs in this process"
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="who works (default: local)"
    )
    parser.add_argument(
        "--address", default="local", help="local: Ray on this machine; auto: its Ray cluster"
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="models that sample and score: with Ray one a GPU, else a core each (default: all)",
    )
    parser.add_argument(
        "--train-workers", type=int, help="workers of a fine-tune (default: one a GPU, or one)"
    )


def _present(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that the command has and was given."""
    values = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _stages(args: argparse.Namespace) -> Callable[..., Stages]:
    """What makes the cached stages in a run folder."""
    from rslib.stages import Models, Stages

    settings = _present(args, "backend", "vllm_url") | {"models": Models(**_present(args, *_OF_MODELS))}
    if getattr(args, "engine", "local") != "local":  # a command that works on no model has no such option
        from rslib.cluster import Cluster, RayStages

        cluster = Cluster(args.address, args.workers, args.train_workers)
        return functools.partial(RayStages, cluster=cluster, **settings)
    if (workers := getattr(args, "workers", None)) is not None:
        import torch

        require(workers >= 1, f"workers is {workers}", "--workers", "Use a number >= 1.")
        torch.set_num_threads(min(workers, os.cpu_count() or 1))
    return functools.partial(Stages, **settings)


@contextlib.contextmanager
def _opened(args: argparse.Namespace) -> Iterator[Stages]:
    """The cached stages in the folder `--out`, which is locked meanwhile."""
    from rslib.store import RunFolder

    with RunFolder(args.out) as folder:
        yield _stages(args)(folder)


# The stages ----------------------------------------------------------------------------------------------


def _add_prompts(parser: argparse.ArgumentParser, split: str) -> None:
    parser.add_argument(
        "--prompts",
        type=_number_or_text,
        default=400,
        metavar="COUNT|FILE",
        help="how many embedded prompts, a prompt file or folder, or a data set of the hub (default: 400)",
    )
    parser.add_argument("--split", default=split, help=f"split of a set that has several (default: {split})")
    _add_config(parser, RunConfig, ("column", "system", "too_long"))


def _prompts(
    args: argparse.Namespace, models: Models, policies: Sequence[str], reward_models: Sequence[str]
) -> Dataset:
    """The prompts that all these models have room for, with the responses that the command draws."""
    from rslib.lengths import fit_all
    from rslib.prompts import EMBEDDED, read_prompts

    config = _config(args, RunConfig)  # for its checks and defaults of these three
    source, limit = (EMBEDDED, args.prompts) if isinstance(args.prompts, int) else (args.prompts, None)
    rows = read_prompts(source, args.split, column=config.column, system=config.system)
    return fit_all(
        rows.first(limit),
        map(models.policy, policies),
        map(models.reward_model, reward_models),
        SampleConfig(max_new_tokens=config.max_new_tokens),
        too_long=config.too_long,
    ).table


def _sample_options(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "policy")
    parser.add_argument(
        *_flags_of("--reward-model"), help="the one that will score: prompts and responses must fit it, too"
    )
    _add_prompts(parser, "train")
    _add_config(parser, SampleConfig)
    _add_config(parser, RunConfig, _OF_MODELS)
    _add_backend(parser)
    _add_engine(parser)
    _add_out(parser)


def _sample(args: argparse.Namespace) -> None:
    from rslib.tables import fingerprint

    config = _config(args, SampleConfig)
    with _opened(args) as stages:
        scorers = [args.reward_model] if args.reward_model else []
        prompts = _prompts(args, stages.models, [args.policy], scorers)
        policy = stages.models.policy_checkpoint(args.policy)
        stages.reuse = isinstance(args.prompts, str)
        table = stages.sample(policy, prompts, config)
    origin = _write_origin(args, {"read": fingerprint(prompts.select_columns("prompt"))}, policy=policy)
    scorer = args.reward_model or ("tiny" if args.policy == "tiny" else "REWARD_MODEL")
    _say_next(args, f"{len(table)} responses", origin, input=args.out, reward_model=scorer)


def _score_options(parser: argparse.ArgumentParser) -> None:
    _add_input(parser, "folder of `sample`")
    _add_model(parser, "reward-model", default=_RECORDED)
    parser.add_argument(
        "--allow-other-reward-model", action="store_true", help="score anew what another one has scored"
    )
    _add_config(parser, RunConfig, ("too_long",))
    _add_config(parser, RunConfig, _OF_MODELS)
    _add_engine(parser)
    _add_out(parser)


def _score(args: argparse.Namespace) -> None:
    from rslib import tables
    from rslib.lengths import responses_with_room

    responses, origin = _made_before(args)
    tables.check_responses(responses)
    too_long = _config(args, RunConfig).too_long
    with _opened(args) as stages:
        name = _named(args, "reward_model", origin, "reward_model")
        reward_model, model = stages.models.reward_checkpoint(name), stages.models.reward_model(name)
        _check_same(origin.get("reward_model"), reward_model, "reward model", args.allow_other_reward_model)
        responses = responses_with_room(model, responses, too_long)
        if too_long == "truncate":  # else all that are left fit
            stages.too_long = too_long
        stages.reuse = "prompts" in origin.get("said", {})
        table = stages.score(reward_model, responses)
    origin = _write_origin(args, origin, reward_model=reward_model)
    _say_next(args, f"{len(table)} scored responses", origin, input=args.out)


def _select_options(parser: argparse.ArgumentParser) -> None:
    _add_input(parser, "folder of `score`")
    _add_config(parser, RunConfig, ("selector", "options", "seed"))
    _add_out(parser)


def _select(args: argparse.Namespace) -> None:
    from rslib import tables

    scored, origin = _made_before(args)
    tables.check_scored(scored, finite=False)  # `select` treats NaN as on_nan says
    config = _config(args, RunConfig)
    with _opened(args) as stages:
        table = stages.select(scored, config.selector, config.options, config.seed)
    _say_next(args, f"{len(table)} kept responses", _write_origin(args, origin), input=args.out)


def _finetune_options(parser: argparse.ArgumentParser) -> None:
    _add_input(parser, "folder of `select`")
    _add_model(parser, "policy", default=_RECORDED)
    parser.add_argument(
        "--allow-other-policy", action="store_true", help="tune on rows that another policy has drawn"
    )
    _add_config(parser, FinetuneConfig)
    _add_config(parser, RunConfig, _OF_MODELS)
    _add_engine(parser)
    _add_out(parser)


def _finetune(args: argparse.Namespace) -> None:
    from rslib import tables

    config, (kept, origin) = _config(args, FinetuneConfig), _made_before(args)
    tables.check_selected(kept)
    with _opened(args) as stages:
        policy = stages.models.policy_checkpoint(_named(args, "policy", origin, "policy"))
        _check_same(origin.get("policy"), policy, "policy", args.allow_other_policy)
        stages.finetune(policy, kept, config)
    origin = _write_origin(args, origin, baseline=policy)
    _say_next(args, "tuned policy", origin, policy=args.out)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "policy")
    _add_model(
        parser, "baseline", "reward-model", default="the one that the policy was tuned with, else tiny"
    )
    parser.add_argument(
        "--judge", help="a second reward model or function, which scores beside the first (default: none)"
    )
    _add_prompts(parser, "test")
    _add_config(parser, EvaluateConfig)
    _add_config(parser, RunConfig, _OF_MODELS)
    _add_backend(parser)
    _add_engine(parser)
    _add_out(parser)


def _evaluate(args: argparse.Namespace) -> None:
    from rslib.pipeline import BASE, comparison, write_report
    from rslib.progress import note
    from rslib.tables import fingerprint

    config = _config(args, EvaluateConfig)
    with _opened(args) as stages:
        origin = _origin(args.policy)
        start, scorer = (_named(args, name, origin, name) for name in ("baseline", "reward_model"))
        scorers = [scorer, args.judge] if args.judge else [scorer]
        prompts = _prompts(args, stages.models, [start, args.policy], scorers)
        if origin.get("read") == fingerprint(prompts.select_columns("prompt")):
            note("these prompts are the ones that were trained on, so the evaluation flatters: name others")
        baseline = stages.models.policy_checkpoint(start)
        policies = {BASE: baseline, "tuned": stages.models.policy_checkpoint(args.policy)}
        reward_model = stages.models.reward_checkpoint(scorer)
        judge = stages.models.reward_checkpoint(args.judge) if args.judge else None
        arms = {
            arm: stages.judged(
                policy, prompts, reward_model, config.sampling(), arm, reference=baseline, judge=judge
            )
            for arm, policy in policies.items()
        }
        scorers = {"reward function": scorer, "judge": args.judge}
        named = {role: name for role, name in scorers.items() if name in stages.models.functions}
        report = comparison(arms, config, policy=args.policy, baseline=start, **named)
        write_report(report, args.out)
    _show(report, args.out)


# Whole runs ----------------------------------------------------------------------------------------------


def _run_options(parser: argparse.ArgumentParser, out: str | None = None) -> None:
    _add_config(parser, RunConfig)
    _add_backend(parser)
    _add_engine(parser)
    _add_out(parser, out)


def _run(args: argparse.Namespace) -> None:
    from rslib.pipeline import run

    config = _profiled(args) if getattr(args, "profile", None) else _config(args, RunConfig)
    _show(run(config, out=args.out, stages=_stages(args)), args.out)


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="tiny, smoke, t4, gpu or custom: settings and models that fit a machine",
    )
    parser.add_argument("--long", action="store_true", help="run a profile on a CPU even if it takes hours")
    _run_options(parser)


def _profiled(args: argparse.Namespace) -> RunConfig:
    """The profile's config with what else the command line names, after its pilot batch."""
    from rslib import profiles

    card = profiles.profile(args.profile, **_given(args, RunConfig))
    profiles.ready(card, args.out, long=args.long)
    return card.config


def _flaw_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the flaw; without a name they are listed")
    _add_config(parser, RunConfig)
    _add_out(parser, default="runs/flaw")


def _flaw(args: argparse.Namespace) -> None:
    from rslib.flaws import FLAWS, run_flawed

    if args.name is None:
        width = max(map(len, FLAWS))
        print("\n".join(f"{f.name:<{width}}  {f.id}  {f.stage:<8}  {f.description}" for f in FLAWS.values()))
        return
    _show(run_flawed(args.name, _config(args, RunConfig), out=args.out), args.out)


def _show(report: Report, out: str) -> None:
    """Print the tables and write the page beside report.json."""
    from rslib.page import terminal_text, write_html

    page = write_html(report, Path(out) / "report.html")
    print(f"\n{terminal_text(report)}\n\nreport: {Path(out) / 'report.json'}, {page}")


def _report(args: argparse.Namespace) -> None:
    from rslib.cache import read_json
    from rslib.reporting import Report

    folder = _input(args, "a run")
    _show(Report.from_dict(read_json(Path(folder) / "report.json")), folder)


# Looking around ------------------------------------------------------------------------------------------


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    _add_config(parser, RunConfig, ("device", "dtype"))
    parser.add_argument("--reward-model", help="also try this reward model")


def _doctor(args: argparse.Namespace) -> int:
    from rslib.doctor import doctor

    checks = doctor(**_present(args, "device", "dtype"), reward=args.reward_model)
    for check in checks:
        print(check)
    return 0 if all(check.ok for check in checks) else 1


def _world_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="train", help="train, validation or test (default: train)")
    parser.add_argument("--limit", type=int, default=5, help="how many prompts to show (default: 5)")
    parser.add_argument("--prompt", help="show what the gold judge counts for --response to this prompt")
    parser.add_argument("--response", default="", help="the response to judge")


def _world(args: argparse.Namespace) -> None:
    from rslib import world

    if args.prompt is not None:
        for name, value in dataclasses.asdict(world.judge(args.prompt, args.response)).items():
            print(f"{name:<14} {value}")
        return
    prompts = world.load_prompts(args.split)
    kinds = list(prompts["kind"])
    print(f"{args.split}: {len(prompts)} prompts, {kinds.count('unsafe')} of them unsafe")
    for row in prompts.select(range(min(args.limit, len(prompts)))):
        print(f"  {row['prompt_id']}  {row['kind']:<6}  {row['prompt']}")


def _build(arguments: list[str]) -> int:
    from rslib.build import main as build

    return build(arguments) or 0


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[Any], int | None]]] = {
    "run": ("all stages, round after round, in a folder that can be resumed", _profile_options, _run),
    "demo": ("one round on the embedded models", functools.partial(_run_options, out="runs/demo"), _run),
    "sample": ("draw n responses per prompt", _sample_options, _sample),
    "score": ("give every response a reward", _score_options, _score),
    "select": ("keep the best responses", _select_options, _select),
    "finetune": ("fine-tune a policy on the kept responses", _finetune_options, _finetune),
    "evaluate": ("compare two policies on held-out prompts", _evaluate_options, _evaluate),
    "flaw": ("a run with one named defect", _flaw_options, _flaw),
    "report": (
        "print a run's report again and rebuild its page",
        functools.partial(_add_input, what="folder with a report.json"),
        _report,
    ),
    "world": ("look at the embedded prompts and the gold judge", _world_options, _world),
    "doctor": ("check device, versions, memory and the embedded models", _doctor_options, _doctor),
}
FORWARDED: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "build": ("train the embedded models from scratch", _build),
}


def _usage() -> str:
    commands = {name: entry[0] for name, entry in (COMMANDS | FORWARDED).items()}
    lines = [f"  {name:<9} {text}" for name, text in commands.items()]
    return "\n".join(
        ["usage: python -m rslib COMMAND [options]   (--help after a command lists its options)", *lines]
    )


def _parser_of(command: str) -> _Parser:
    help_text, add_options, _ = COMMANDS[command]
    parser = _Parser(prog=f"python -m rslib {command}", description=help_text, allow_abbrev=False)
    add_options(parser)
    return parser


def _parse(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = _parser_of(command)
    args, left_over = parser.parse_known_args(arguments, argparse.Namespace(command=command))
    if left_over:
        known = [
            flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")
        ]
        parser.refuse("option", left_over[0].partition("=")[0], known)
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors of rslib are printed, never raised."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] in (["--version"], ["-V"]):
        print(__version__)
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    command, rest = arguments[0], arguments[1:]
    try:
        return _dispatch(command, rest)
    except KeyboardInterrupt:
        _say_stopped(arguments)
        return 130
    except RSError as err:
        sys.stdout.flush()
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1 if isinstance(err, (StoreError, BudgetError)) else 2
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(command: str, rest: list[str]) -> int:
    if command in FORWARDED:
        return FORWARDED[command][1](rest)
    if command not in COMMANDS:
        _Parser(prog="python -m rslib").refuse("command", command, [*COMMANDS, *FORWARDED])
    args = _parse(command, rest)
    return COMMANDS[command][2](args) or 0


def _say_stopped(arguments: Sequence[str]) -> None:
    print(
        "\nStopped. Finished shards are kept. To go on where this stopped, run the same command again:\n"
        f"  python -m rslib {shlex.join(arguments)}",
        flush=True,
    )


def _stop_soon(number: int, frame: FrameType | None) -> None:
    """On Ctrl-C: unwind, and see to it that the process is gone soon even so."""

    def leave() -> None:
        _say_stopped(sys.argv[1:])
        os._exit(130)

    timer = threading.Timer(_SECONDS_TO_STOP, leave)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def program() -> NoReturn:
    """What `rslib` and `python -m rslib` are: one command, and the process ends with its exit code."""
    signal.signal(signal.SIGINT, _stop_soon)
    code = main()
    sys.stdout.flush()
    if code == 130:
        os._exit(code)  # skip the libraries' slow farewells
    sys.exit(code)


if __name__ == "__main__":
    program()
