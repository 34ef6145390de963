# The one entry point. `make` alone prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo

# Least line coverage, in percent. What only starts the program is measured by running it, not here.
COVERAGE := 90
NOT_COVERED := src/bin/

.PHONY: help
help: ## print this
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

##@ Everyday

.PHONY: run
run: ## build and start the service; its log shows a URL to open (more: make run ARGS='--log-level debug')
	$(CARGO) run --locked --bin websocket-service -- $(ARGS)

.PHONY: test
test: tools-test ## run all tests; they start redis-servers and a browser of their own
	$(CARGO) test --locked $(ARGS)

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt

.PHONY: docs
docs: ## write the generated pages (docs/settings.md and the like) anew from the code
	UPDATE_DOCS=1 $(CARGO) test --locked --lib

##@ Checks

.PHONY: check
check: lint deny test cover smoke ## everything that CI runs

.PHONY: lint
lint: fuzz-check ## format, clippy, rustdoc, fuzz targets compile; a warning is an error
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

.PHONY: deny
deny: tools-deny ## licences, banned and doubled crates, where crates come from
	$(CARGO) deny --locked check bans licenses sources

.PHONY: advisories
advisories: tools-deny ## known security advisories; fetches the database of RustSec
	$(CARGO) deny --locked check advisories

.PHONY: cover
cover: export LLVM_COV ?= /usr/bin/llvm-cov-22
cover: export LLVM_PROFDATA ?= /usr/bin/llvm-profdata-22
cover: tools-test tools-cover ## run the tests and print line coverage; fails below 90 %
	$(CARGO) llvm-cov --locked --ignore-filename-regex '$(NOT_COVERED)' --fail-under-lines $(COVERAGE)

.PHONY: fuzz-check
fuzz-check: ## see that the fuzz targets still compile
	$(CARGO) check --locked --manifest-path fuzz/Cargo.toml

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## fuzz what strangers send, FUZZ_SECONDS=60 each; needs cargo-fuzz and a nightly toolchain
	for target in request settings frames; do \
		$(CARGO) +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) -timeout=20; done

.PHONY: smoke
smoke: ## start the service as `make run` does, see it answer, and stop it
	scripts/smoke.sh

##@ Building

.PHONY: build
build: ## build for development
	$(CARGO) build --locked

.PHONY: release
release: ## build for production: target/release/websocket-service
	$(CARGO) build --locked --release

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean

##@ Tools

.PHONY: tools tools-test tools-cover tools-deny
tools: tools-test tools-cover tools-deny ## install what tests, coverage and checks need
tools-test tools-cover tools-deny: tools-%:
	@scripts/install-tools.sh $*
