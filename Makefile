# The one entry to everything: `make help`. Needs make and Python >= 3.11; all else goes into .venv.
PYTHON ?= python3
VENV   ?= .venv

BIN     := $(VENV)/bin
# Stamps; pip's own files appear before an installation is complete.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.installed-runtime
FULL    := $(VENV)/.installed-full
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak mutants bench lint types docs gallery constraints format clean

help: ## print this help
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: $(RUNTIME) ## run the demonstration: real test digits through the emulated quantum link
	@$(BIN)/labqdl demo

test: $(FULL) ## every check and every test (the same as CI)
	@$(BIN)/python .ci/check.py

soak: $(FULL) ## the long campaigns at full size
	$(BIN)/python -m pytest -m soak

mutants: $(FULL) ## plant every fault of tests/mutants/faults.toml in turn; its test must notice
	@$(BIN)/python tests/mutants/campaign.py

bench: $(FULL) ## the benchmarks: a table here, JSON in benchmarks/results/
	$(BIN)/python -m benchmarks

lint: $(FULL) ## ruff (rules and format) and the import contracts
	@$(BIN)/python .ci/check.py lint format imports

types: $(FULL) ## mypy --strict on sources and tests
	@$(BIN)/python .ci/check.py types types-tools

docs: $(FULL) ## build the documentation into docs/_build/html, warnings as errors
	@$(BIN)/python .ci/check.py docs

gallery: $(FULL) ## make the pictures of docs/plots.md from the code that stands there
	@$(BIN)/python docs/gallery.py

format: $(FULL) ## rewrite the sources in the house's format
	$(BIN)/ruff check --quiet --select I --fix .
	$(BIN)/ruff format --quiet .

# Pins are made with the oldest Python that we support: what runs there has releases for the newer ones as well.
# The package itself (named by its own extras) and pip's comments are left out; Windows' only extra part is added.
constraints: $(FULL) ## refresh constraints.txt (needs Python 3.11 in .venv)
	@$(BIN)/python -c "import sys; sys.version_info[:2] == (3, 11) or sys.exit('make constraints needs a .venv of Python 3.11')"
	$(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --no-header --no-annotate --no-emit-index-url \
	    --no-emit-trusted-host --no-emit-find-links --no-emit-options --output-file $(VENV)/pins.txt pyproject.toml
	@$(BIN)/python .ci/pins.py $(VENV)/pins.txt constraints.txt

clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build dist docs/_build benchmarks/results .coverage* .pytest_cache .mypy_cache .ruff_cache \
	    .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('labqdl needs Python 3.11 or newer, this is ' + sys.version.split()[0] + '; name another one: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): $(CREATED) pyproject.toml constraints.txt
	@echo "Installing labqdl and what it needs to run into $(VENV) (once) ..."
	@$(INSTALL) --editable .
	@touch $@

$(FULL): $(CREATED) pyproject.toml constraints.txt
	@echo "Installing labqdl, its tests and its tools into $(VENV) (once) ..."
	@$(INSTALL) --editable ".[dev,train,docs]"
	@touch $(RUNTIME) $@
