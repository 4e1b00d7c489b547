# The commands of this repository; the continuous integration runs nothing else. `make help` lists them.

PYTHON      ?= python3
VENV        ?= .venv
# `make setup CONSTRAINTS=` installs the newest versions that the metadata allows.
CONSTRAINTS ?= constraints.txt
WORKERS     ?= 2
LAB_OPTIONS ?=
SITE_OPTIONS ?=
LITE_OPTIONS ?=
# `make calibrate` measures the course's experiments with this many seeds.
SEEDS       ?= 30
# `make course OUT=folder COURSE_SALT=text`: where the course goes, and what draws its variants.
OUT         = build/course
COURSE_SALT ?=
# Worlds that `make measure` measures; the last part of each path is the seed that trains it.
WORLDS      ?= runs/worlds/0 runs/worlds/1 runs/worlds/2

BIN   := $(VENV)/bin
PY    := $(BIN)/python
# pip's arguments before what is installed
INSTALL := -m pip --disable-pip-version-check -qq install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
PIP   := $(PY) $(INSTALL)
STAMP := $(VENV)/.setup-done

.DEFAULT_GOAL := help
.PHONY: verifiable rules help setup demo lab test test-all test-long lint bench tables world measure calibrate signatures architectures rl arena kill oracles clean notebooks course learner wheel try-wheel colab lite solutions-html site bench-grading sandbox

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## prepare .venv and do nothing else

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)"; exit 1; }
	@echo "Preparing $(VENV) (once; downloads torch and its companions, so it may take some minutes) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	    { echo "python3 lacks its venv module (on Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@$(PIP) -e '.[dev]'
	@touch $@

demo: setup  ## one real round on the embedded models; report in runs/demo/
	@$(PY) -m rslib demo

lab: $(VENV)/.course-done  ## open JupyterLab (adds the [course] packages first)
	@PATH="$(abspath $(BIN)):$$PATH" jupyter lab $(LAB_OPTIONS) notebooks

$(VENV)/.course-done: $(STAMP)
	@echo "Adding JupyterLab and nbgrader to $(VENV) (once; some minutes) ..."
	@$(PIP) -e '.[course]'
	@touch $@

# The sandbox's bubblewrap where it can be had without a question; else the last line of the tests says what was skipped.
TRY_SANDBOX = command -v bwrap >/dev/null || { { test $$(id -u) = 0 || sudo -n true 2>/dev/null; } && \
    $(MAKE) --no-print-directory sandbox >/dev/null 2>&1; } || true

# Files are split among the workers: one that is done takes over tests of another.
PYTEST = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) --dist worksteal

test: lint $(VENV)/.course-done  ## the specification: ruff, tests, doctests (minutes)
	@$(TRY_SANDBOX)
	@$(PYTEST)

test-all: test-long test  ## also whole catalogues, solved notebooks, browser, attacks (half an hour)

test-long: $(VENV)/.course-done  ## the long tests alone
	@$(TRY_SANDBOX)
	@$(PYTEST) -m "long and not slow"

oracles: setup  ## compare losses with TRL's (adds the [trl] packages first)
	@$(PIP) -e '.[trl]'
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -m trl

lint: setup  ## ruff alone
	@$(BIN)/ruff check .

bench: setup  ## measure against transformers side by side; writes docs/results/bench-<device>.json
	@$(PY) -m docs.studies.bench

notebooks: $(VENV)/.course-done  ## build the students' notebooks/ from solutions/
	@$(PY) -m autograder release

course: $(VENV)/.course-done  ## write an nbgrader course directory (OUT=build/course COURSE_SALT=)
	@$(PY) -m autograder course --out "$(OUT)" --salt "$(COURSE_SALT)"

learner: $(VENV)/.course-done  ## write the package that a class gets, without keys (OUT=build/learner)
	@$(PY) -m autograder learner $(if $(filter-out file,$(origin OUT)),--out "$(OUT)")

wheel: setup  ## build the wheel and the sdist into dist/
	@rm -rf dist && $(PY) -m build --no-isolation --outdir dist . >/dev/null && ls -s -h dist

lite: wheel  ## check what runs without torch, then build JupyterLite with notebooks and wheel into build/lite
	@$(PY) -m pytest -q -m "not slow" tests/test_without_torch.py
	@rm -rf build/lite && $(PYTHON) -m venv build/lite-tools
	@build/lite-tools/bin/pip install -q jupyterlite-core jupyterlite-pyodide-kernel jupyter-server
	@cd build && lite-tools/bin/jupyter lite build --contents ../notebooks --piplite-wheels ../dist/*.whl --output-dir lite $(LITE_OPTIONS)

# The environment is empty, so torch is downloaded once more, or comes from pip's cache.
try-wheel: wheel  ## install the wheel into an empty environment and use it outside of the repository
	@rm -rf build/empty && $(PYTHON) -m venv build/empty
	@build/empty/bin/python $(INSTALL) "$$(ls dist/*.whl)[course]"
	@$(PY) -m tests.outside build/empty/bin/python

# The runtime has no dependency of ours installed by pip, so the wheel must do with what is there.
colab: wheel $(VENV)/.course-done  ## run the solved notebooks and their checks with what Colab carries (PYTHON=python3.13)
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: name another, PYTHON=python3."; exit 1; }
	@$(PYTHON) -c 'import sys; print("Python %d.%d; Colab has 3.13." % sys.version_info[:2])'
	@rm -rf build/colab && $(PYTHON) -m venv build/colab
	@build/colab/bin/python -m pip --disable-pip-version-check -qq install -r .github/requirements-colab.txt
	@build/colab/bin/python -m pip --disable-pip-version-check -qq install --no-deps dist/*.whl
	@$(PY) -m autograder release --solved --out build/colab/notebooks >/dev/null
	@cd build/colab && for notebook in notebooks/*.ipynb; do \
	    PATH="$$PWD/bin:$$PATH" HF_HUB_OFFLINE=1 PYDEVD_DISABLE_FILE_VALIDATION=1 bin/python -m autograder check $$notebook || exit 1; done

solutions-html: $(VENV)/.course-done  ## run the solved notebooks and render them into build/solutions/
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m autograder solutions

site: $(VENV)/.course-done  ## write the documentation as a site into build/site (runs the notebooks once; SITE_OPTIONS=--no-run: seconds)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 $(PY) -m docs.site $(SITE_OPTIONS)

sandbox:  ## install bubblewrap, the sandbox of untrusted submissions (Debian, Ubuntu; asks for root)
	@command -v bwrap >/dev/null || { root=$$(test $$(id -u) = 0 || echo sudo); \
	    $$root apt-get update -qq && $$root apt-get install -y -qq bubblewrap >/dev/null; }
	@# Ubuntu lets no program make user namespaces; on a runner that is thrown away this may be changed.
	@limit=/proc/sys/kernel/apparmor_restrict_unprivileged_userns; test -z "$$CI" || test ! -e $$limit || echo 0 | sudo tee $$limit >/dev/null

bench-grading: $(VENV)/.course-done  ## measure `grade` beside stock nbgrader; writes docs/results/grading.json (half an hour)
	@$(PY) -m docs.studies.grading

tables: setup  ## write the README's tables from docs/results/
	@$(PY) -m docs.studies.tables && $(PY) -m docs.studies.one_page

world: setup  ## train the embedded models again from scratch (up to 30 minutes on 2 cores)
	@$(PY) -m rslib build

calibrate: setup  ## measure the thresholds of the course's experiments (SEEDS=30; finished seeds are kept; two hours)
	@HF_HUB_OFFLINE=1 $(PY) -m autograder calibrate --seeds $(SEEDS)

signatures: setup  ## measure the trace of every flaw into docs/results/ and docs/signatures.md (finished rows are kept; an hour)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 $(PY) -m docs.studies.signatures

architectures: setup  ## try every class of policy and reward model that can be built small; writes docs/architectures.md (minutes)
	@HF_HUB_OFFLINE=1 $(PY) -m docs.studies.architectures

rl: setup  ## measure what reinforcement learning reaches beside one round (finished arms are kept; an hour)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 $(PY) -m docs.studies.rl && $(PY) -m docs.studies.tables && $(PY) -m docs.studies.one_page

verifiable: setup  ## measure a program as judge: rejection sampling, its controls, GRPO and its relatives (finished arms are kept; two hours)
	@export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1; $(PY) -m docs.studies.verifiable && \
	    $(PY) -m docs.studies.verifiable --variants --seeds 0 1 2

rules: setup $(WORLDS:%=%/manifest.json)  ## what rules of inference time buy over best-of-n
	@HF_HUB_OFFLINE=1 $(PY) -m docs.studies.rules $(filter-out runs/worlds/0,$(WORLDS))

arena: setup  ## compare rejection sampling with its rivals at equal budget (WORKERS=2; finished runs are kept; an hour)
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) -m docs.studies.arena --workers $(WORKERS) --docs docs

measure: setup $(WORLDS:%=%/manifest.json)  ## measure three trained worlds with three seeds each into docs/results/ (hours)
	@$(PY) -m docs.studies.worlds --worlds $(WORLDS)

runs/worlds/%/manifest.json: | $(STAMP)
	@$(PY) -m rslib build --seed $* --out runs/worlds/$*

kill: $(VENV)/.course-done  ## kill a two-round run, and a grader, at 20 random moments and compare with uninterrupted ones
	@HF_HUB_OFFLINE=1 $(PY) -m pytest -q -m slow tests/test_kill.py tests/test_grading_kill.py

clean:  ## remove caches and build products (neither .venv nor runs)
	@rm -rf build dist .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
