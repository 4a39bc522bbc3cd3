# `make demo` and `make test` are all a newcomer needs: each makes .venv and installs what is missing first.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
BENCH_INSTALLED := .venv/bench-installed
DOCS_INSTALLED := .venv/docs-installed

.PHONY: demo test bench docs sim sim-quick experiments experiments-quick lint format install clean

demo: install
	$(BIN)/espeer demo

# two at a time: many tests wait for processes that they started
test: install
	$(BIN)/pytest -n 2 --dist loadfile

bench: $(BENCH_INSTALLED)
	$(BIN)/python -m benchmarks.bm25 $(BENCH)
	$(BIN)/python -m benchmarks.ttft $(BENCH)

docs: $(DOCS_INSTALLED)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs site
	@echo "read site/index.html"

sim: install
	$(BIN)/espeer sim run simulations/*.toml --json

sim-quick: install
	$(BIN)/espeer sim run simulations/*.toml --quick --json

# What is done is kept in results/, so both can be stopped and gone on with. MODEL is for those about what a model answers; the
# others are about time, bytes and long use, and take the default model.
ANSWERS := generalised generalised-subjects repetitive refined ablation
EXPERIMENTS := $(wildcard simulations/experiments/*.toml)

experiments: install
	$(BIN)/espeer sim run $(ANSWERS:%=simulations/experiments/%.toml) $(if $(DATA),--data '$(DATA)') $(if $(MODEL),--model '$(MODEL)')
	$(BIN)/espeer sim run $(filter-out $(ANSWERS:%=simulations/experiments/%.toml),$(EXPERIMENTS)) $(if $(DATA),--data '$(DATA)')

experiments-quick: install
	$(BIN)/espeer sim run $(EXPERIMENTS) --quick

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt scripts/install.py
	$(PYTHON) scripts/install.py

$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[bench]'
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv
