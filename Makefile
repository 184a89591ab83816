# make setup | demo | test | test-long | lint | bench | clean. Needs Python 3.11 with its venv module, git and make.
PYTHON ?= python3
# An extra package index for PyTorch; its CPU-only one spares several GB: https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
export TORCH_INDEX

BIN := .venv/bin
DEV := .venv/.dev-installed
BENCH := .venv/.bench-installed
# memory_tasks takes hours, suites half an hour: run them by themselves
BENCHMARKS := $(filter-out memory_tasks suites,$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[!_]*.py)))

.PHONY: setup demo test test-long lint bench clean
.DEFAULT_GOAL := setup

setup: $(DEV)
	@echo "undrift is ready in .venv."
	@echo "next: make demo (fly the shipped policy, about a minute), make test, or $(BIN)/undrift --help"

$(DEV): requirements.lock pyproject.toml tools/make_venv.py
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here; install it: sudo apt-get install python3 python3-venv" >&2; exit 2; }
	@$(PYTHON) tools/make_venv.py dev
	@touch $@

$(BENCH): $(DEV)
	@$(PYTHON) tools/make_venv.py dev bench
	@touch $@

demo: $(DEV)
	@$(BIN)/undrift demo

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/mypy -p undrift

# One thread for torch: its threads only get in each other's way on networks this small.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile
	@echo "all passed. next: make demo, or make bench (speed beside its peers, several minutes)"

test-long: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m long
	@echo "all learned what they had to."

bench: $(BENCH)
	@mkdir -p runs/bench
	@for name in $(BENCHMARKS); do \
	  echo "== benchmarks/$$name.py"; \
	  $(BIN)/python benchmarks/$$name.py --json runs/bench/$$name.json || exit 1; \
	done
	@echo "the figures are in runs/bench/*.json"

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find agents envs policies tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
