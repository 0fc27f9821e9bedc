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
# Many tests wait for a port or a process, so two files of tests run on each core; no library divides a core further.
# The slowest begin first (tests/conftest.py). nproc would count OMP_NUM_THREADS.
test tests quick fuzz pythons: export OMP_NUM_THREADS := 1
CORES := -n $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN)) --dist loadfile --no-loadscope-reorder
# Those of tests/ports that run against the clock wait nearly all the time, so they run side by side. Others compute.
WAITING := -n 4 --dist worksteal
QUICK := not torch and not realtime and not installs

.DEFAULT_GOAL := help
.PHONY: help run test lint types tests quick fuzz check pythons arm container service wheel format bench live soak endurance days starter starter-bundle demo clean

help:  ## Show what each command does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 26

run:  ## Install the device part and decide on the recording that mmg carries (RUNTIME=onnx or litert)
	@$(INSTALL_RUN)
	@$(BIN)/mmg-run --sensors imu,audio --demo --backend $(RUNTIME)

test:  ## Install what the tests need, then run lint, types and every test
	@$(INSTALL_TEST)
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 2 types tests
	@$(BIN)/python -m pytest $(WAITING) -m realtime tests/ports
	@$(BIN)/python -m pytest -m "realtime and not torch" --ignore=tests/ports

lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types:
	@$(BIN)/mypy

tests:
	@$(BIN)/python -m pytest $(CORES) -m "not realtime"

quick:  ## Every test that needs no torch, no real-time run and no fresh environment
	@$(INSTALL_QUICK)
	@$(BIN)/python -m pytest $(CORES) -m "$(QUICK)"

fuzz:  ## Foreign bytes into every reader (SECONDS=180), then the tests' random loops ten times as long (FACTOR=10)
	@$(INSTALL_QUICK)
	@$(BIN)/python -m mmg_tools.fuzz --seconds $(SECONDS)
	@MMG_FUZZ=$(FACTOR) $(BIN)/python -m pytest $(CORES) -m "fuzz and not torch"

check:  ## Lint and types, without running anything
	@$(INSTALL_TEST)
	@$(MAKE) --no-print-directory lint types

pythons:  ## make quick on every Python from 3.10 to 3.13 that this machine has
	@sh .ci/pythons.sh $(CORES) -m "$(QUICK)"

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

demo:  ## Render the demo recording anew
	@$(INSTALL_TEST)
	@$(BIN)/python -m mmg_training.wearer.record --seed 909 --seconds 75 --out runtime/mmg/demo

clean:  ## Remove the virtual environments and all caches
	@rm -rf .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
