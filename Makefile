# make demo : set up, and run the main job on synthetic images
# make test : set up, and pass the tests
# make bench: set up, and measure against other ways of doing the same; on a data folder with DATA=folder
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench readme

demo: $(VENV)/.installed
	$(BIN)/xai-pneumonia run

test: $(VENV)/.development
	$(BIN)/python tools/test.py

bench: $(VENV)/.development
	$(BIN)/python benchmarks $(if $(DATA),"$(DATA)")

# README.md is made from nbs/index.ipynb
readme: $(VENV)/.development
	$(BIN)/python tools/readme.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# the stamps remember what was installed, and for which settings
$(VENV)/.installed: settings.ini setup.py | $(VENV)/bin/python
	test -e $(VENV)/.development || $(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.development: settings.ini setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install -e ".[dev]"
	$(BIN)/python -m pip install --no-deps quantus==0.6.0 # its opencv-python would overwrite grad-cam's headless one
	touch $@
