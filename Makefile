# Every command of the project. `make demo` shows it working; `make test` proves it. Steps already done are skipped.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
LOCAL := PYTHONPATH=scripts python3 -m somabrain_local
VENV := .venv/.installed
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/somabrain
export PATH := $(CACHE)/bin:$(CURDIR)/.venv/bin:$(PATH)
DATA ?=
REV ?=
OPTIONS ?=

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\#.*/\1/p' Makefile)

help: ## What can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV): requirements/dev.txt requirements/build.txt pyproject.toml scripts/venv.sh
	@scripts/venv.sh
	@touch $@

.venv: $(VENV)

demo: $(VENV) ## A cluster, the operator, a memory service, and a conversation with it
	@$(LOCAL) up --with-images
	@$(PY) examples/demo.py

test: lint unit chart integration e2e ## Everything that must hold

lint: $(VENV) ## Style, types, import rules, contract, charts, workflows, generated code
	@$(LOCAL) tools helm kubeconform actionlint
	@scripts/lint.sh

unit: $(VENV) ## Tests that open no socket
	@$(PY) -m pytest tests/unit

integration: $(VENV) ## Tests against real servers on loopback
	@$(LOCAL) tools opa etcd redis kafka keycloak otelcol promtool vault coredns controller-gen kubernetes kubectl helm
	@$(LOCAL) previous
	@$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder tests/integration

chart: $(VENV) ## Tests that render the charts
	@$(LOCAL) tools helm kubeconform
	@$(LOCAL) previous
	@$(PY) -m pytest tests/chart

e2e: $(VENV) ## Tests on the local cluster, with soma-infra's profile full among them
	@$(LOCAL) up --with-images --full
	@$(PY) -m pytest tests/e2e --verbose $$($(LOCAL) pytest-options)

e2e-full: $(VENV) ## On a new cluster: the pages word by word, upgrades, whole lives of charts; then all of e2e
	@$(LOCAL) down
	@$(LOCAL) up --with-images --full
	@$(LOCAL) previous
	@$(PY) -m pytest tests/lifecycle --verbose
	@$(MAKE) --no-print-directory e2e

faults: $(VENV) ## Two minutes of writes, recalls and watches while server and PostgreSQL are killed
	@$(LOCAL) tools opa
	@$(PY) -m pytest -s tests/integration/service/test_faults_under_load.py --faults-s 120

resilience: $(VENV) ## Every dependency down, slow and back under load; writes docs/resilience.md
	@$(LOCAL) tools opa etcd redis kafka keycloak otelcol
	@$(PY) -m pytest -s tests/integration/resilience --fault-s 15 --resilience-report docs/resilience.md

bench: $(VENV) ## What calls cost beside a trivial handler and raw SQL (OPTIONS="--sizes 1000 100000")
	@$(LOCAL) tools redis
	@$(PY) bench/bench_service.py $(OPTIONS)

bench-versus: $(VENV) ## Server CPU per call beside another revision, in turns: make bench-versus REV=f4d6445
	@test -n "$(REV)" || { echo "bench-versus: say REV=REVISION, a commit, tag or branch of this clone" >&2; exit 2; }
	@$(PY) bench/bench_versus.py "$(REV)" $(OPTIONS)

bench-recall: $(VENV) ## Evidence recall on conversations: make bench-recall DATA=FILE
	@test -n "$(DATA)" || { echo "bench-recall: say DATA=FILE, a JSON file of conversations (docs/bench.md says its form)" >&2; exit 2; }
	@$(PY) bench/bench_recall.py "$(DATA)"

bench-chain: $(VENV) ## What identity, quota, policy and tracing cost a Recall
	@$(LOCAL) tools opa keycloak otelcol
	@$(PY) bench/bench_chain.py $(OPTIONS)

bench-propagation: $(VENV) ## How long until a changed flag, quota, policy, token or certificate acts
	@$(LOCAL) tools opa etcd keycloak
	@$(PY) bench/bench_propagation.py

bench-operator: $(VENV) ## The operator over N resources (1000), beside a plain kopf operator
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) bench/bench_operator.py --count $(or $(N),1000)

bench-images: $(VENV) ## What both images weigh and what of, and how long their pods take to be Ready
	@$(LOCAL) up --with-images
	@$(PY) bench/bench_images.py $(OPTIONS)

soak: $(VENV) ## The operator for MINUTES (30) among edits, restarts and cut watches: it must not grow
	@$(LOCAL) tools etcd kubernetes kubectl helm
	@$(PY) bench/soak_operator.py --minutes $(or $(MINUTES),30)

chaos: $(VENV) ## Eight faults on the local cluster, in an order drawn from SEED (1), under a calling client
	@$(LOCAL) up --with-images
	@$(PY) -m pytest -s tests/e2e/test_chaos.py --chaos-whole --chaos-seed $(or $(SEED),1) $$($(LOCAL) pytest-options)

cluster: ## A local Kubernetes: kind where Docker answers, else native processes
	@$(LOCAL) up

clean-cluster: ## Remove the local Kubernetes and everything it left
	@$(LOCAL) down

images: ## Build both images, and those they run beside
	@$(LOCAL) images

image-archives: ## Both images as archives in build/images (needs Docker)
	@scripts/image_archives.sh save

audit: $(VENV) ## Known vulnerabilities of the locked packages (asks a service on the internet)
	@for extra in service operator; do .venv/bin/uv tool run pip-audit@2.10.1 --strict --disable-pip -r requirements/$$extra.txt || exit 1; done

chart-packages: $(VENV) ## The charts as packages in build/charts: make chart-packages OWNER=NAME
	@$(LOCAL) tools helm
	@scripts/release.sh charts "$(or $(OWNER),somabrain)"

release-check: ## Fail unless TAG names the version of this tree: make release-check TAG=v1.2.3
	@scripts/release.sh check "$(TAG)"

sign: ## Sign the pushed images and charts (cosign, keyless): make sign
	@scripts/release.sh sign

push-charts: ## Push the packaged charts: make push-charts OWNER=NAME
	@scripts/release.sh push-charts "$(OWNER)"

github-release: ## Make the GitHub release of TAG with charts and SBOMs: make github-release TAG=v1.2.3
	@scripts/release.sh github "$(TAG)"

push: ## Push the archived images: make push REPOSITORY=ghcr.io/OWNER TAG=sha-COMMIT
	@scripts/image_archives.sh push "$(REPOSITORY)" "$(TAG)"

lock: ## Compile requirements/*.txt from pyproject.toml
	@scripts/lock.sh .venv/bin/uv

proto: $(VENV) ## Generate stubs and descriptor from the contract
	@proto/generate.sh $(CURDIR)/$(PY) $(CURDIR)/proto/gen $(CURDIR)/build/somabrain.binpb

format: $(VENV) ## Format the code
	@.venv/bin/ruff check --fix --quiet; .venv/bin/ruff format --quiet
