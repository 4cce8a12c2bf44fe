# make quickstart   set up .venv and run the main job on the shipped sample
# make test         set up .venv, then lint, types, import contract and tests
# make docs         the documentation site, into build/site/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test lint slow docs clean

quickstart: $(READY)
	$(BIN)/repvit-sam quickstart

test: lint
	$(BIN)/python -m pytest -q --numprocesses logical --maxprocesses 4 --dist loadfile

slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Strict: a warning, such as of a link that leads nowhere, is an error. With --quiet mkdocs would not count warnings.
docs: $(READY)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt --no-build-isolation -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f docs/site/mkdocs.yml
	@echo "build/site/index.html"

# torch first: DeepSpeed's setup looks for it. setuptools and wheel: DeepSpeed is built from source without isolation.
$(READY): setup.cfg pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt setuptools wheel ninja numpy torch torchvision
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt --no-build-isolation deepspeed
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt --no-build-isolation -e '.[eval,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
