PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
READY_DEV := .venv/.ready-dev

# The one requirement without a hash: which build of it there is (CPU, CUDA) depends on the machine's index.
TORCH := torch==2.13.0
# uv where it is installed; pip otherwise. The locks are complete, so nothing is resolved; modules compile when used.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet \
	--disable-pip-version-check --no-compile)
LOCKED := --no-deps --require-hashes -r
# Otherwise every process would compile all that it imports, where the environment forbids to keep it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-ray test-training test-rest check mutants serve lock clean

# Everything from landscapes to a report, in minutes on two cores.
demo: $(READY)
	$(BIN)/vqi2i demo

# The whole test suite, in three parts beside each other: what needs Ray mostly waits for processes.
test: $(READY_DEV)
	$(MAKE) --no-print-directory -k -j3 test-ray test-training test-rest

# Three times the threads that there are cores would wait for each other.
test-%: export OMP_NUM_THREADS = 1

test-ray: $(READY_DEV)
	$(BIN)/python -m pytest -m ray

test-training: $(READY_DEV)
	$(BIN)/python -m pytest -m "not ray" tests/training tests/tuning

test-rest: $(READY_DEV)
	$(BIN)/python -m pytest -m "not ray" --ignore tests/training --ignore tests/tuning

# Formatting, lint and types.
check: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Which mistakes, put into the code one at a time, no test sees. SAMPLE=300 tries so many, another SEED=1 others,
# FILE=vqi2i/networks/domain_rows.py those of a file, AGAIN=1 those that lived the last time.
mutants: $(READY_DEV)
	$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(FILE),--file $(FILE)) $(if $(AGAIN),--again)

# The demo's model over HTTP.
serve: $(READY)
	$(BIN)/vqi2i serve demo/model

# Renew the locks from the newest versions that pyproject.toml allows; needs uv.
lock:
	uv $(COMPILE) --output-file requirements.lock
	uv $(COMPILE) --extra dev --extra metrics --constraint requirements.lock --output-file requirements-dev.lock

COMPILE := pip compile pyproject.toml --quiet --upgrade --generate-hashes --no-annotate --no-header \
	--python-version 3.11 --no-emit-package torch

clean:
	rm -rf .venv build demo runs mutants mlruns mlflow.db .mlflow.db.lock .pytest_cache .ruff_cache *.egg-info

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) $(LOCKED) requirements.lock
	$(INSTALL) $(TORCH)
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# Compiled before the tests, in which what compiling somebody's module warns of would be an error.
$(READY_DEV): $(READY) requirements-dev.lock
	$(INSTALL) $(LOCKED) requirements-dev.lock
	$(BIN)/python -W ignore -m compileall -q -j 0 .venv/lib > /dev/null || true
	touch $@
