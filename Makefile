# The one entry point. `make` alone prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo

# Least line coverage, in percent. What only starts the program is measured by running it, not here.
COVERAGE := 90
NOT_COVERED := src/bin/

BENCH_PYTHON := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/websocket-service/bench-venv/bin/python
CHART := charts/websocket-service
CHART_PYTHON := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/websocket-service/chart-venv/bin/python
# Where `go install` puts what `make tools-chart` brings.
GO_BIN = $(or $(shell go env GOBIN 2>/dev/null),$(shell go env GOPATH 2>/dev/null)/bin)

.PHONY: help
help: ## print this
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

##@ Everyday

.PHONY: run
run: ## build and start the service; its log shows a URL to open (more: make run ARGS='--log-level debug')
	$(CARGO) run --locked --bin websocket-service -- $(ARGS)

.PHONY: test
test: tools-test bench-test release-test ## run all tests; they start redis-servers and a browser of their own
	$(CARGO) test --locked $(ARGS)

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt

.PHONY: docs
docs: ## write the generated pages (docs/settings.md and the like) anew from the code
	UPDATE_DOCS=1 $(CARGO) test --locked --lib

.PHONY: chart-docs
chart-docs: tools-chart ## write docs/values.md anew from the comments in the chart's values.yaml
	$(CHART_PYTHON) scripts/chart_values.py

.PHONY: chart-golden
chart-golden: export PATH := $(PATH):$(GO_BIN)
chart-golden: tools-chart ## write the chart's renderings in tests/chart/golden anew
	UPDATE_GOLDEN=1 $(CHART_PYTHON) -m pytest -q -p no:cacheprovider tests/chart/test_golden.py

.PHONY: manifests manifests-check
manifests: export PATH := $(PATH):$(GO_BIN)
manifests: tools-chart ## write k8s/ anew from the chart
	$(CHART_PYTHON) scripts/manifests.py
manifests-check: export PATH := $(PATH):$(GO_BIN)
manifests-check: tools-chart ## see that k8s/ is what the chart renders
	$(CHART_PYTHON) scripts/manifests.py --check

##@ Checks

.PHONY: check
check: lint deny test chart cover smoke ## everything that CI runs

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
fuzz: ## fuzz what strangers send, FUZZ_SECONDS=60 each, beginning with the inputs kept in fuzz/corpus
	scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: mutants
mutants: tools-mutants ## break history, session and auth one place at a time: a unit test has to fail (hours; make mutants ARGS=auth for one)
	scripts/mutants.py $(ARGS)

.PHONY: chart
chart: export PATH := $(PATH):$(GO_BIN)
chart: tools-chart ## lint the chart, test what it renders and refuses, see that k8s/ and docs/values.md are not stale
	helm lint --strict --quiet $(CHART)
	$(CHART_PYTHON) scripts/chart_values.py --check
	$(CHART_PYTHON) scripts/manifests.py --check
	$(CHART_PYTHON) -m pytest -q -p no:cacheprovider tests/chart $(ARGS)

.PHONY: e2e
e2e: export PATH := $(PATH):$(GO_BIN)
e2e: tools-chart ## end-to-end tests on the cluster of KUBECONFIG, with the image of `make image` in it (some 10 minutes)
	$(CHART_PYTHON) -m pytest -q -p no:cacheprovider tests/e2e $(ARGS)

.PHONY: lossless
lossless: ## faults under 1,000 clients and 500 messages a second: what plain and resuming clients lose (some 8 minutes)
	$(CARGO) test --locked --test integration -- --ignored --nocapture lossless::at_full_scale

SOAK_MINUTES ?= 30
SOAK_SEED ?= 1
.PHONY: soak
soak: export SOAK := $(SOAK_MINUTES):$(SOAK_SEED)
soak: ## clients that stay and clients that come and go, under faults at random (SOAK_MINUTES=30, SOAK_SEED=1): nothing may be lost
	$(CARGO) test --locked --release --test integration -- --ignored --nocapture soak::a_long_day

.PHONY: smoke
smoke: ## start the service as `make run` does, see it answer, and stop it
	scripts/smoke.sh

##@ Measuring

.PHONY: bench
bench: tools-bench $(if $(filter --page,$(BENCH_ARGS)),,optimized) ## compare with peers, write docs/benchmarks.md (some 15 minutes); BENCH_ARGS=--quick for a try
	$(BENCH_PYTHON) bench/run.py $(BENCH_ARGS)

.PHONY: bench-micro
bench-micro: ## time hub, outbox, codec, tokens and traces by themselves; make bench-micro ARGS=hub for some
	$(CARGO) bench --locked --bench micro -- $(ARGS)

.PHONY: bench-test
bench-test: ## test what makes the tables of the comparison
	python3 -m unittest discover --quiet --start-directory bench --pattern '*_test.py'

.PHONY: release-test
release-test: ## test what makes a release, and what makes the crates of `make mutants`
	python3 -m unittest discover --quiet --start-directory scripts --pattern '*_test.py'

##@ Building

.PHONY: build
build: ## build for development
	$(CARGO) build --locked

.PHONY: optimized
optimized: ## build for production: target/release/websocket-service
	$(CARGO) build --locked --release

.PHONY: release release-again
release: tools-release ## make a release of the commit in dist/: programs, what is in them (SBOM), what they were built from, sums
	scripts/release.py
release-again: tools-release ## build that release's programs once more, elsewhere, and see that no byte differs
	scripts/release.py --again

# Another tool than docker builds the same file: make image IMAGE_BUILD='podman build --tag $(IMAGE) .'
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
IMAGE ?= websocket-service:$(VERSION)
IMAGE_BUILD ?= docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --tag $(IMAGE) .
.PHONY: image
image: ## build the container image IMAGE, websocket-service:VERSION by default; IMAGE_BUILD is the command
	$(IMAGE_BUILD)

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean

##@ Tools

.PHONY: tools tools-test tools-cover tools-deny tools-mutants tools-chart tools-bench tools-release
tools: tools-test tools-cover tools-deny tools-chart ## install what tests, coverage and checks need
tools-test tools-cover tools-deny tools-mutants tools-chart tools-bench tools-release: tools-%:
	@scripts/install-tools.sh $*
