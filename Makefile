# Two commands matter: `make run` and `make test`. `make help` explains the others.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME ?= onnx
FACTOR ?= 10
SECONDS ?= 180
$(if $(filter onnx litert,$(RUNTIME)),,$(error RUNTIME=$(RUNTIME): choose onnx or litert))
INSTALL_RUN := sh .ci/install.sh $(RUNTIME),serial,audio "$(PYTHON)"
INSTALL_TEST := sh .ci/install.sh dev "$(PYTHON)"
INSTALL_QUICK := sh .ci/install.sh test "$(PYTHON)"
# Each worker collects all tests, so there are few: one a core for those that need torch, and as many and one more, as
# they wait now and then, for the others. The slowest begin first (tests/conftest.py). No library divides a core further,
# and what pytest makes of the tests is kept for the next worker. nproc would count OMP_NUM_THREADS.
test torch tests quick fuzz pythons: export OMP_NUM_THREADS := 1
test torch tests quick fuzz pythons: export PYTHONDONTWRITEBYTECODE :=
CORES := $(shell getconf _NPROCESSORS_ONLN)
FILES := --dist loadfile --no-loadscope-reorder --max-worker-restart 0
WORKERS := -n $(shell expr $(CORES) + 1) $(FILES)
# Those that run against the clock wait nearly all the time, so they run side by side, save those that compute.
WAITING := -n 5 --dist worksteal
BUSY := -n $(CORES) --dist worksteal
QUICK := not torch and not realtime and not installs

.DEFAULT_GOAL := help
.PHONY: help run test lint types torch tests quick fuzz check pythons arm container service wheel format bench live soak endurance days fleets starter starter-bundle demo clean

help:  ## Show what each command does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 26

run:  ## Install the device part and decide on the recording that mmg carries (RUNTIME=onnx or litert)
	@$(INSTALL_RUN)
	@$(BIN)/mmg-run --sensors imu,audio --demo --backend $(RUNTIME)

test:  ## Install what the tests need, then run lint, types and every test
	@$(INSTALL_TEST)
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 3 types torch tests
	@$(BIN)/python -m pytest $(WAITING) -m "realtime and not busy and not alone"
	@$(BIN)/python -m pytest $(BUSY) -m "realtime and busy"
	@$(BIN)/python -m pytest -m "realtime and alone"

lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types:
	@$(BIN)/mypy

torch:
	@$(BIN)/python -m pytest -n $(CORES) $(FILES) -m "torch and not realtime"

tests:
	@$(BIN)/python -m pytest $(WORKERS) -m "not torch and not realtime"

quick:  ## Every test that needs no torch, no real-time run and no fresh environment
	@$(INSTALL_QUICK)
	@$(BIN)/python -m pytest $(WORKERS) -m "$(QUICK)"

fuzz:  ## Foreign bytes into every reader (SECONDS=180), then the tests' random loops ten times as long (FACTOR=10)
	@$(INSTALL_QUICK)
	@$(BIN)/python -m mmg_tools.fuzz --seconds $(SECONDS)
	@MMG_FUZZ=$(FACTOR) $(BIN)/python -m pytest $(WORKERS) -m "fuzz and not torch"

check:  ## Lint and types, without running anything
	@$(INSTALL_TEST)
	@$(MAKE) --no-print-directory lint types

pythons:  ## make quick on every Python from 3.10 to 3.13 that this machine has
	@sh .ci/pythons.sh $(WORKERS) -m "$(QUICK)"

arm:  ## Run mmg as a Raspberry Pi would hold it, emulated: wheel, demo, tests (as root; half an hour)
	@PYTHON="$(PYTHON)" bash .ci/arm.sh

container:  ## Run the steps of deploy/Containerfile in Debian roots, and decide in what they make (as root)
	@$(INSTALL_RUN)
	@$(BIN)/python .ci/container.py

service:  ## Let a real systemd run what mmg-service writes, in a Debian root (as root)
	@$(INSTALL_TEST)
	@$(BIN)/python .ci/service.py

wheel:  ## Build dist/mmg_runtime-*.whl, which carries all that a device needs
	@$(INSTALL_RUN)
	@rm -f dist/mmg_runtime-*.whl
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@du -h --apparent-size dist/mmg_runtime-*.whl

format:  ## Rewrite the code in the project's format
	@$(INSTALL_TEST)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench:  ## What mmg adds to its models, what a live run costs, and more ratios of docs/performance.md (twenty minutes)
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.bench

live:  ## Play five minutes on virtual ports and compare with the same from files
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.live_check

soak:  ## Let a thousand faults happen to virtual ports (a quarter of an hour)
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.soak

endurance:  ## An hour on virtual ports: processor time, memory, lateness
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.endurance

fleets:  ## A thousand simulated wearables at a real mosquitto, watched by mmg-fleet (ten minutes)
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.fleets

days:  ## 72 hours of three sensors, then a million faults, on a scripted clock (half an hour)
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_tools.days --hours 72
	@$(BIN)/python -m mmg_tools.days --events 1000000

starter:  ## Train the starter model anew and export its bundle (half an hour on one core)
	@$(INSTALL_TEST)
	@$(BIN)/mmg-train training/configs/starter.toml --out runs/starter --overwrite
	@cp runs/starter/model.safetensors runs/starter/config.json runs/starter/metrics.json runs/starter/unknown.npz training/mmg_training/starter/
	@$(MAKE) --no-print-directory starter-bundle

starter-bundle:  ## Export the starter's checkpoint, training/mmg_training/starter, to the bundle that mmg carries
	@$(INSTALL_TEST)
	@$(BIN)/mmg-export training/mmg_training/starter -o runtime/mmg/starter --precisions fp32,int8 --half --evaluate
	@mv runtime/mmg/starter.report.* docs/export/
	@$(BIN)/mmg-eval starter --config training/configs/starter.toml --gate --write-gate runtime/mmg/starter

demo:  ## Render the demo recording anew
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_training.wearer.record --seed 909 --seconds 75 --out runtime/mmg/demo

clean:  ## Remove the virtual environments and all caches
	@rm -rf .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
