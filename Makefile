# `make demo` and `make test` do all set-up on a fresh machine; everything lands in .venv and demo/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# a plain `torch` from PyPI brings gigabytes of CUDA; this names the release whose CPU build is used where there is one.
# It has to stand in one command with torchvision, which would otherwise bring the newest torch along.
TORCH ?= torch==2.13.0
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
JOBS ?= 2
DRIVE ?=
ROUTE ?=
LENGTH ?=
START ?=

.PHONY: demo slam docs test lint clean

demo: $(VENV)/.demo
	$(BIN)/ms2cl demo --out demo $(if $(DRIVE),--drive "$(DRIVE)") $(if $(ROUTE),--route "$(ROUTE)") \
	  $(if $(LENGTH),--length $(LENGTH)) $(if $(START),--start $(START))

slam: $(VENV)/.slam
	$(BIN)/python examples/slam_loop_closure/run.py --out demo/slam

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py | $(BIN)/python
	$(PIP) -e '.[ros,city,plot]'
	touch $@

$(VENV)/.slam: setup.py | $(BIN)/python
	$(PIP) -e '.[city,plot,slam]'
	touch $@

$(VENV)/.docs: setup.py | $(BIN)/python
	$(PIP) 'mkdocs>=1.6,<2'
	touch $@

$(VENV)/.test: setup.py test/build_messages.py | $(BIN)/python
	$(PIP) $(TORCH) -e '.[ros,city,plot,training,test]'
	$(BIN)/python test/build_messages.py
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build install log demo site *.egg-info
