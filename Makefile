# Every way to build, check and measure the project; `make` alone lists them.

.PHONY: help test setup fmt lint unit fresh deploy deny bench soak mutants
CARGO ?= cargo

help: ## List these recipes
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

test: setup fmt lint unit fresh deploy ## Install what the tests need, then run every check

setup: ## Install what the build and the tests need
	@scripts/setup.sh

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

lint: ## Check with clippy, warnings refused
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: ## Build and run all tests
	$(CARGO) test --workspace --locked

SEED ?= $(shell date +%s)000
fresh: ## Simulate 2,000 networks for six virtual hours each, from a fresh SEED that is printed
	$(CARGO) run --release --locked -q -p quarry-sim -- $(SEED) 2000 --hours 6 --jobs $$(nproc)

deploy: ## Check what runs nodes on AWS (needs setup)
	target/python/bin/python -B -m pytest -q -p no:cacheprovider deploy/tests

HOURS ?= 1
MINUTES ?= $(shell echo $$(($(HOURS) * 60)))
soak: ## Simulate, kill, cut the power and fuzz for HOURS (1) or MINUTES, from a fresh SEED
	scripts/soak.sh $(MINUTES) $(SEED)

mutants: ## Prove the simulator's checkers by bugs put into a copy of the core
	node/sim/mutations/run.py

deny: ## Check licences and sources of the dependencies (needs cargo-deny)
	$(CARGO) deny --locked check bans licenses sources

bench: ## Run the benchmarks
	$(CARGO) bench -p benches
