"""`import rslib` is quick because nothing heavy is imported until a stage needs it."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "datasets", "matplotlib", "pandas", "pyarrow", "numpy")


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`; its stderr must stay empty."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_the_package_takes_at_most_three_tenths_of_a_second():
    timed = "import time; t = time.perf_counter(); import rslib; print(time.perf_counter() - t)"
    assert min(float(fresh(timed)) for _ in range(3)) <= 0.3  # the quickest of three: the machine may be busy


def test_importing_the_package_loads_nothing_heavy():
    loaded = fresh("import sys, rslib, rslib.errors, rslib.config; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_theory_needs_no_torch():
    assert "torch" not in fresh("import sys, rslib; rslib.theory; print(*sys.modules)").split()


def test_the_version_is_printed_without_loading_a_model_library():
    code = """
import runpy, sys
sys.argv = ["rslib", "--version"]
try:
    runpy.run_module("rslib", run_name="__main__")
except SystemExit as end:
    assert not end.code
print(*sys.modules)
"""
    printed = fresh(code).splitlines()
    assert printed[0].split()[-1] == "0.1.0"
    assert not {"torch", "transformers", "datasets"} & set(printed[-1].split())


def test_every_public_name_is_listed_and_an_unknown_one_is_refused_with_the_known_ones():
    import rslib

    assert set(rslib.__all__) <= set(dir(rslib))
    try:
        rslib.finetunes  # noqa: B018
    except AttributeError as error:
        assert "finetune" in str(error)
    else:
        raise AssertionError("a misspelt name was accepted")


def test_every_public_name_loads():
    names = "load_policy load_reward_model load_prompts sample score select finetune evaluate run"
    assert (
        fresh(f"import rslib; print(all(callable(getattr(rslib, n)) for n in '{names}'.split()))") == "True"
    )
