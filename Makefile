# Everything runs in .venv, which the first target makes and keeps up to date.
# PYTHON chooses the interpreter it is made from, TORCH the build of torch: auto, cpu or cuda.
PYTHON ?= python3
TORCH ?=
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo panel evaluate faults fuzz gpu kernels peers neutral matrix test lint format clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

setup: ## make .venv with everything pinned in requirements/
	@$(PYTHON) tools/bootstrap.py $(addprefix --torch=,$(TORCH))

demo: setup ## simulator, policy node and command node for a few episodes; writes output/demo-*/ (ARGS="--help" for options)
	@$(BIN)/vla-entropy demo $(ARGS)

panel: setup ## the demo for a while, with the panel "VLA policy" in a window beside it
	@$(BIN)/vla-entropy demo --show --episodes 100 $(ARGS)

evaluate: setup ## success rate, tick times and share of fresh tokens (ARGS="--mode all --episodes 50")
	@$(BIN)/vla-entropy evaluate $(ARGS)

faults: setup ## everything that can go wrong, 20 times each, and 30 minutes of endurance (ARGS="--help" for options)
	@$(BIN)/python -m tools.faults $(ARGS)

fuzz: setup ## 500 spoiled files of each kind: all refused, or taken as others take them (ARGS="--help" for options)
	@$(BIN)/python -m tools.fuzz $(ARGS)

gpu: setup ## on a machine with an NVIDIA GPU: check, tests and benchmark in ten minutes at most (ARGS=--train trains there)
	@$(BIN)/python tools/gpu.py $(ARGS)

kernels: setup ## Triton's kernels without a GPU: interpreted, and compiled for three devices; brings Triton (0.7 GB)
	@$(BIN)/python -m pip install -q --upgrade --no-deps --target .venv/kernels -r requirements/kernels.txt
	@PYTHONPATH=.venv/kernels OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=4 test/kernels $(ARGS)

peers: setup ## a CPU's tick beside ONNX Runtime, OpenVINO, torch.compile and transformers; brings the first two (ARGS="--quick")
	@$(BIN)/python -m pip install -q --upgrade --no-deps --target .venv/peers -c requirements/constraints.txt -r requirements/peers.txt
	@PYTHONPATH=.venv/peers $(BIN)/vla-entropy bench --peers $(ARGS)

neutral: setup ## is a change numerically neutral? (ARGS="--base main~1" compares with that commit)
	@$(BIN)/python -m tools.neutral $(ARGS)

matrix: ## set-up, demo and all tests on every Python and build of torch that can be had, in fresh clones; hours (ARGS="--help")
	@$(PYTHON) -m tools.matrix $(ARGS)

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## let ruff rewrite the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test: lint ## ruff, mypy and all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile $(ARGS)

clean: ## remove .venv, caches and outputs
	rm -rf .venv build install log output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
