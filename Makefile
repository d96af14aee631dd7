# Everything a person types. `make` alone lists it.
BIN := .venv/bin
# The Python that .venv has, so that `make env PYTHON=python3.13` says it once; else the first that really starts: a version
# manager's shim may stand for a Python that is not there.
PYTHON ?= $(shell for name in $(BIN)/python python3.12 python3.11 python3.13 python3; do \
	$$name -c '' 2>/dev/null && echo $$name && break; done)

.DEFAULT_GOAL := help
.PHONY: help env parts demo demo-cluster test test-all lint bench-operator bench-checkpoint bench-elastic bench-scale bench-train bench-tasks bench-int8 bench-quality pins crd clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: ## create .venv with the pinned packages (~10 GB of disk)
	@$(PYTHON) requirements/install.py

parts: env ## build etcd, the Kubernetes control plane, KServe, helm and the S3 gateway from source (about 11 minutes once)
	@$(BIN)/python -m bertjob_local.binaries

demo: env ## the whole way on this machine, no cluster: train, kill a worker, optimize, serve, ask
	@$(BIN)/python examples/demo.py

demo-cluster: env parts ## the same YAML on a local cluster of real parts
	@$(BIN)/python examples/demo_cluster.py

lint: env ## style, types, layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: env parts lint ## every check that takes minutes
	@$(BIN)/pytest -m "not slow" -n 2 --dist loadgroup

test-all: env parts lint ## every check
	@$(BIN)/pytest -n 2 --dist loadgroup

bench-operator: env ## what a job costs the operator, beside Kubeflow Trainer and kopf (minutes; one part by ARGS="--only memory")
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.reconcile $(ARGS)

bench-checkpoint: env ## what saving costs the steps around it, beside torch.save (minutes; ARGS=--small for trying)
	@PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_checkpoint.py $(ARGS)

bench-elastic: env ## what kills cost: goodput and recovery, beside stock torchrun (28 minutes; ARGS=--small, or "--side bertjob" for half)
	@PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_elastic.py $(ARGS)

bench-scale: env ## speed-up on 4 hosts with shaped links, beside torch's DDP (root; ARGS=--small, or "--gigabits 10" for one network)
	@PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_scale.py $(ARGS)

bench-train: env ## training speed beside transformers.Trainer, BERT-base on this CPU (BERTJOB_DATA: folder with SST-2)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.train

bench-tasks: env ## what models learn on real data and how fast, beside transformers.Trainer (BERTJOB_DATA; about an hour, in pieces by ARGS="--tasks sst2 --seeds 1")
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.tasks $(ARGS)

bench-int8: env ## how much faster and smaller INT8 is on this CPU, beside its peers (20 minutes, in pieces by ARGS="--groups int8 --parts fixed")
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.int8 $(ARGS)

bench-quality: env ## what INT8 costs in accuracy on real data, by every method (BERTJOB_DATA; two hours, in pieces by ARGS="--tasks sst2 --seeds 1")
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.quality $(ARGS)

pins: env ## compile requirements/*.txt from pyproject.toml
	@$(BIN)/python requirements/compile.py

crd: env ## write the chart's CustomResourceDefinition and model server from the contract
	@$(BIN)/python charts/generate.py

clean: ## remove what the targets made in this folder; caches outside stay
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
