# make demo  installs what is missing and gates two checkpoints for real, offline, on a CPU
# make test  installs what is missing and runs lint, types and the test suite but its nightly part
# make test-all  the same with the nightly part
# make fast RESOLUTION=lowest-direct  the rooms without torch on the lowest (highest: newest) dependencies

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export TRANSFORMERS_OFFLINE ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

XDIST := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: install demo demo-baseline demo-chart test test-all lint types unit clean real-scores real-baseline readme-chart docs fast

install: $(VENV)/installed

# Everything by hash but torch and torchvision: their builds differ by machine (docs/install.md).
$(VENV)/installed: pyproject.toml constraints.txt requirements-ci.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements-ci.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# A checkpoint that must fail (exit code 1), then one that must pass.
demo: install
	$(BIN)/loraeval run demo/checkpoints/demo_photoreal-000010.safetensors --baseline demo_perfect --out runs/demo_photoreal && exit 1 || test $$? = 1
	$(BIN)/loraeval run demo/checkpoints/demo_perfect-000010.safetensors --baseline demo_perfect --out runs/demo

# The committed baseline of the demo world: rendered, scored with its own CLIP, frozen.
demo-baseline: install
	$(BIN)/python -m loraeval.testing.portraits_files training runs/demo_training
	$(BIN)/loraeval run demo/checkpoints/demo_perfect-000010.safetensors --base-model demo/base --recipe demo \
	  --prompts demo --seeds 1-2 --lattice 24x24 --encoder demo/encoder --reference runs/demo_training \
	  --out runs/demo_golden
	$(BIN)/loraeval score runs/demo_golden/renders.jsonl --lattice 24x24 --encoder demo/encoder \
	  --reference runs/demo_training --save-reference runs/demo_golden/reference.json \
	  --out runs/demo_golden/scores.jsonl
	$(BIN)/loraeval params demo/checkpoints/demo_perfect-000010.safetensors --json --out runs/demo_golden/parameters.json
	$(BIN)/loraeval baseline freeze demo_perfect --replace --scores runs/demo_golden/scores.jsonl \
	  --profile recipes/profiles/demo.toml --recipe recipes/demo.toml --prompts demo \
	  --reference runs/demo_golden/reference.json --parameters runs/demo_golden/parameters.json \
	  --source "demo_perfect, epoch 10, rendered on a CPU in float32" --renders demo/golden
	mkdir -p demo/golden && cp -r runs/demo_golden/demo_perfect-000010 demo/golden/

# The README's chart of the demo's ten epochs.
demo-chart: install
	$(BIN)/loraeval run 'demo/checkpoints/demo_perfect-*.safetensors' --base-model demo/base --recipe demo \
	  --prompts demo --seeds 1 --lattice 24x24 --encoder demo/encoder --reference runs/demo_training --out runs/demo_epochs
	$(BIN)/loraeval chart --scores runs/demo_epochs/scores.jsonl --baseline demo_perfect --out reports/demo_perfect

# The seed's real renders, where you have them: scores, the committed baseline, the README's chart.
PUNKS ?= ../shared/data/bespoke_punks
REAL := runs/punks

real-scores: install
	$(BIN)/loraeval score $(PUNKS)/renders.jsonl --lattice 24x24 --encoder efficientnet-lite0 \
	  --reference $(PUNKS)/training --save-reference $(REAL)/reference.json --out $(REAL)/scores.jsonl

real-baseline: real-scores
	$(BIN)/loraeval params docs/examples/seed_runs/SD15_PERFECT.toml --json --out $(REAL)/parameters.json
	$(BIN)/loraeval baseline freeze SD15_PERFECT --scores $(REAL)/scores.jsonl --replace \
	  --select 'run=SD15_PERFECT,epoch=7-9' --profile recipes/profiles/pixel_24x24.toml \
	  --parameters $(REAL)/parameters.json --reference $(REAL)/reference.json \
	  --source "renders of SD15_PERFECT by its author, epochs 7 to 9, no fixed seed in 7 and 9"

readme-chart: real-scores
	$(BIN)/loraeval chart --scores $(REAL)/scores.jsonl --run SD15_PERFECT --baseline SD15_PERFECT \
	  --out reports/SD15_PERFECT

test: install lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/pytest $(XDIST) -m 'not nightly'

test-all: install lint types
	$(BIN)/pytest $(XDIST)

# The declared ranges of dependencies: their newest versions (highest) or their lowest, without torch,
# through the rooms that need none.
RESOLUTION ?= highest
RANGE := .venv-$(RESOLUTION)
FAST := tests/spine tests/outside tests/prompts tests/checkpoints tests/images tests/gate tests/baselines \
  tests/sources tests/plugin tests/report/test_watch.py tests/report/test_texts.py tests/report/test_rating.py

fast:
	test -x $(RANGE)/bin/python || $(PYTHON) -m venv $(RANGE)
	$(RANGE)/bin/pip install --quiet uv
	$(RANGE)/bin/uv pip install --quiet --python $(RANGE)/bin/python --resolution $(RESOLUTION) \
	  -e '.[rate]' 'pytest-xdist>=3.6' 'hypothesis>=6.120'
	$(RANGE)/bin/python tools/golden_scores.py --check
	$(RANGE)/bin/pytest -n 2 -m 'not nightly and not slow and not browser' $(FAST)

# The documentation site with the API page, in build/docs; a broken link is an error.
docs: install
	$(BIN)/python tools/build_docs.py

clean:
	rm -rf $(VENV) .venv-highest .venv-lowest-direct runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
