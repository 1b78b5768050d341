PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-ray test-rest check serve lock clean

# Everything from landscapes to a report, in minutes on two cores.
demo: $(READY)
	$(BIN)/vqi2i demo

# The whole test suite; what needs Ray waits for processes most of the time, so the rest runs beside it.
test: $(READY)
	$(MAKE) --no-print-directory -k -j2 test-ray test-rest

test-ray: $(READY)
	$(BIN)/python -m pytest -m ray

test-rest: $(READY)
	$(BIN)/python -m pytest -m "not ray"

# Formatting, lint and types.
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# The demo's model over HTTP.
serve: $(READY)
	$(BIN)/vqi2i serve demo/model

# Renew the lock from the newest versions that pyproject.toml allows.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0 setuptools
	.venv-lock/bin/pip install --quiet -e .[dev]
	(echo "# Exact versions of everything, made by \`make lock\`." && \
	 .venv-lock/bin/pip freeze --all --exclude vqi2i --exclude pip | sed 's/+cpu$$//') > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv build demo runs mlruns mlflow.db .mlflow.db.lock .pytest_cache .ruff_cache *.egg-info

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
