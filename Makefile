# All commands of the project. `make demo` shows a running example; `make test` runs all tests. Completed steps are skipped.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
LOCAL := python3 -m devcluster
VENV := .venv/.installed
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/somabrain
export PATH := $(CACHE)/bin:$(CURDIR)/.venv/bin:$(PATH)
CARGO := PATH="$$PATH:$$HOME/.cargo/bin" CARGO_TARGET_DIR=$(CACHE)/kernel/target cargo
KERNEL := $(wildcard kernel/*.toml kernel/*.lock kernel/*.rs kernel/*.pyi kernel/src/*.rs kernel/src/*/*.rs kernel/src/*/*/*.rs)
DATA ?=
REV ?=
OPTIONS ?=
OWNER_DSN ?=
APP_DSN ?=
WORKER_DSN ?=

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\#.*/\1/p' Makefile)

help: ## List all targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV): requirements/dev.txt requirements/build.txt pyproject.toml scripts/venv.sh kernel/build_wheel.sh $(KERNEL)
	@scripts/venv.sh
	@touch $@

.venv: $(VENV)

demo: $(VENV) ## Create a cluster, the operator and a memory service, and run an example conversation
	@$(LOCAL) up --with-images
	@$(PY) examples/demo.py

test: lint unit kernel chart integration integration-langgraph e2e ## Run all checks and tests

lint: $(VENV) ## Check style, types, import rules, contract, charts, workflows and generated code
	@$(LOCAL) tools helm kubeconform actionlint
	@scripts/lint.sh

unit: $(VENV) ## Run the tests that open no socket
	@$(PY) -m pytest tests/unit

kernel: $(VENV) ## Compare the native kernel with a scan by definition, 10,000 drawn cases with each instruction set
	@cd kernel && $(CARGO) test --quiet --release --locked

kernel-fuzz: $(VENV) ## The same with a million cases
	@cd kernel && KERNEL_CASES=1000000 $(CARGO) test --quiet --release --locked

kernel-audit: $(VENV) ## Check that the kernel's wheel keeps to Python's stable ABI (installs abi3audit from the package index)
	@.venv/bin/uv tool run abi3audit@0.0.26 --strict --report "$$(kernel/build_wheel.sh .venv/bin/maturin $(CACHE)/kernel)"

integration: $(VENV) ## Run the tests against real servers on loopback
	@$(LOCAL) tools opa etcd redis kafka keycloak otelcol promtool pgbouncer faketime vault coredns controller-gen kstatus kubernetes kubectl helm
	@$(LOCAL) previous
	@$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder tests/integration

integrations: $(VENV) ## Run the tests of the client's adapters, each with its framework (OPTIONS="langgraph anthropic" for some)
	@$(LOCAL) tools opa
	@scripts/integrations.sh $(OPTIONS)

integration-langgraph: $(VENV) ## Run the tests of LangGraph's store by its synchronous interface, in the development environment
	@$(LOCAL) tools opa
	@$(PY) -m pytest tests/integrations/langgraph/test_store.py -k "not async"

chart: $(VENV) ## Run the tests that render the charts
	@$(LOCAL) tools helm kubeconform
	@$(LOCAL) previous
	@$(PY) -m pytest tests/chart

e2e: $(VENV) ## Run the tests on the local cluster, including soma-infra's profile full
	@$(LOCAL) up --with-images --full
	@$(PY) -m pytest tests/e2e --verbose $$($(LOCAL) pytest-options)

e2e-full: $(VENV) ## Run the documented commands, upgrades and chart lifecycles on a new cluster, then e2e
	@$(LOCAL) down
	@$(LOCAL) up --with-images --full
	@$(LOCAL) previous
	@$(PY) -m pytest tests/lifecycle --verbose
	@$(MAKE) --no-print-directory e2e

conformance: $(VENV) ## Run the store's tests against your PostgreSQL: make conformance OWNER_DSN=DSN APP_DSN=DSN WORKER_DSN=DSN
	@$(LOCAL) tools redis
	@$(PY) -m tests.conformance --owner-dsn "$(OWNER_DSN)" --app-dsn "$(APP_DSN)" --worker-dsn "$(WORKER_DSN)" $(OPTIONS)

mcp-conformance: $(VENV) ## Run the Model Context Protocol's own suites against the MCP server (installs them from the npm registry)
	@$(LOCAL) tools opa
	@$(PY) -m tests.mcp_conformance

faults: $(VENV) ## Run two minutes of writes, recalls and watches while server and PostgreSQL are killed
	@$(LOCAL) tools opa
	@$(PY) -m pytest -s tests/integration/service/lifecycle/test_faults_under_load.py --faults-s 120

resilience: $(VENV) ## Test outage, slowness and recovery of each dependency under load; writes docs/resilience.md
	@$(LOCAL) tools opa etcd redis kafka keycloak otelcol
	@$(PY) -m pytest -s tests/integration/resilience --fault-s 15 --resilience-report docs/resilience.md

bench: $(VENV) ## Measure the cost of calls against a trivial handler and raw SQL (OPTIONS="--sizes 1000 100000")
	@$(LOCAL) tools redis
	@$(PY) bench/bench_service.py $(OPTIONS)

bench-versus: $(VENV) ## Compare server CPU per call with another revision: make bench-versus REV=f4d6445
	@test -n "$(REV)" || { echo "bench-versus: set REV=REVISION, a commit, tag or branch of this clone" >&2; exit 2; }
	@$(PY) bench/bench_versus.py "$(REV)" $(OPTIONS)

bench-keys: $(VENV) ## Compare a get by key with one by name, and Recall with five conditions with one without
	@$(PY) bench/bench_keys.py $(OPTIONS)

bench-mcp: $(VENV) ## Compare server CPU of a Recall over MCP, both processes counted, with one over gRPC (OPTIONS="--lexical")
	@$(PY) bench/bench_mcp.py $(OPTIONS)

bench-peers: $(VENV) ## Compare speed with chroma and mem0, which it installs (OPTIONS="--memories 1000 --seconds 2")
	@$(PY) bench/bench_peers.py $(OPTIONS)

bench-recall: $(VENV) ## Measure evidence recall: make bench-recall DATA=FILE (OPTIONS="--questions 50")
	@test -n "$(DATA)" || { echo "bench-recall: set DATA=FILE, conversations or LongMemEval (formats in docs/bench.md)" >&2; exit 2; }
	@$(LOCAL) tools etcd
	@$(PY) bench/bench_recall.py "$(DATA)" $(OPTIONS)

bench-word-pieces: $(VENV) ## Measure the comparison of a query's word pieces with those of a shortlist
	@$(PY) bench/bench_word_pieces.py $(OPTIONS)

bench-token-vectors: $(VENV) ## Measure bytes of token vectors, and Recall with them in memory and in PostgreSQL (OPTIONS="--turns FILE")
	@$(PY) bench/bench_token_vectors.py $(OPTIONS)

bench-chain: $(VENV) ## Measure the cost of authentication, quota, policy and tracing for a Recall
	@$(LOCAL) tools opa keycloak otelcol
	@$(PY) bench/bench_chain.py $(OPTIONS)

bench-propagation: $(VENV) ## Measure the delay until a changed flag, quota, policy, token or certificate takes effect
	@$(LOCAL) tools opa etcd keycloak
	@$(PY) bench/bench_propagation.py

bench-operator: $(VENV) ## Measure the operator over N resources (1000) against a plain kopf operator
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) bench/bench_operator.py --count $(or $(N),1000)

bench-images: $(VENV) ## Measure the size of both images by component, and the startup time of their pods
	@$(LOCAL) up --with-images
	@$(PY) bench/bench_images.py $(OPTIONS)

drift: $(VENV) ## Edit the operator's objects at random EDITS (300) times; fail unless each edit is put back or reported
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) -m pytest -s tests/integration/operator/test_drawn_edits.py --drift-edits $(or $(EDITS),300)

kstatus: $(VENV) ## Judge the statuses of 24 states as kpt, Flux, Helm 4 and Argo CD do, beside those of the previous version
	@$(LOCAL) tools etcd kstatus kubernetes kubectl helm
	@$(LOCAL) previous
	@$(PY) -m pytest -s tests/integration/operator/test_health_checks.py

soak: $(VENV) ## Run the operator for MINUTES (30) under edits, restarts and closed watches; fail if it grows
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) bench/soak_operator.py --minutes $(or $(MINUTES),30)

chaos: $(VENV) ## Inject eight faults into the local cluster, ordered by SEED (1), while a client sends calls
	@$(LOCAL) up --with-images
	@$(PY) -m pytest -s tests/e2e/test_chaos.py --chaos-whole --chaos-seed $(or $(SEED),1) $$($(LOCAL) pytest-options)

cluster: ## Start a local Kubernetes: kind if Docker is running, else native processes
	@$(LOCAL) up

clean-cluster: ## Remove the local Kubernetes and all its resources
	@$(LOCAL) down

images: ## Build both images, and those of the servers they use
	@$(LOCAL) images

image-archives: ## Save both images as archives in build/images (needs Docker)
	@scripts/image_archives.sh save

audit: $(VENV) ## Check the locked packages for known vulnerabilities (queries a service on the internet)
	@for extra in service operator; do .venv/bin/uv tool run pip-audit@2.10.1 --strict --disable-pip -r requirements/$$extra.txt || exit 1; done

chart-packages: $(VENV) ## Package the charts into build/charts: make chart-packages OWNER=NAME
	@$(LOCAL) tools helm
	@scripts/release.sh charts "$(or $(OWNER),somabrain)"

release-check: ## Fail unless TAG is the version of this tree: make release-check TAG=v1.2.3
	@scripts/release.sh check "$(TAG)"

sign: ## Sign the pushed images and charts (cosign, keyless)
	@scripts/release.sh sign

push-charts: ## Push the packaged charts: make push-charts OWNER=NAME
	@scripts/release.sh push-charts "$(OWNER)"

github-release: ## Create the GitHub release of TAG with charts and SBOMs: make github-release TAG=v1.2.3
	@scripts/release.sh github "$(TAG)"

push: ## Push the archived images: make push REPOSITORY=ghcr.io/OWNER TAG=sha-COMMIT
	@scripts/image_archives.sh push "$(REPOSITORY)" "$(TAG)"

lock: ## Compile requirements/*.txt from pyproject.toml
	@scripts/lock.sh .venv/bin/uv

proto: $(VENV) ## Generate stubs and descriptor from the contract
	@proto/generate.sh $(CURDIR)/$(PY) $(CURDIR)/proto/gen $(CURDIR)/proto/somabrain.binpb

docs-site: $(VENV) ## Build the documentation site in build/site; a link that leads nowhere is an error
	@.venv/bin/uv venv --quiet --allow-existing $(CACHE)/docs-site
	@VIRTUAL_ENV=$(CACHE)/docs-site .venv/bin/uv pip sync --quiet --require-hashes requirements/docs.txt
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=scripts:. $(CACHE)/docs-site/bin/python -m docs_site build/site

pictures: $(VENV) ## Draw README's pictures from what the programs print
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) -m tests.pictures docs

format: $(VENV) ## Format the code
	@.venv/bin/ruff check --fix --quiet; .venv/bin/ruff format --quiet
