# make demo : set up, and run the main job on synthetic images
# make test : set up, and pass the tests
# make dev  : set up for editing, without running the tests
# make nb NB=nbs/04_gradcam.ipynb : export, format, lint, and test this notebook and those that import it
# make bench: set up, and measure against other ways of doing the same; on a data folder with DATA=folder
# make docs : build the site into _docs/ (needs Quarto)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test dev nb bench docs readme

demo: $(VENV)/.installed
	$(BIN)/xai-pneumonia run

test: $(VENV)/.development
	$(BIN)/python tools/test.py

# the hooks let git merge notebooks cell by cell
dev: $(VENV)/.development
	$(BIN)/nbdev_install_hooks
	@echo "ready: $(BIN)/jupyter lab, then make nb NB=nbs/the_notebook.ipynb"

nb: $(VENV)/.development
	$(BIN)/python tools/nb.py $(NB)

bench: $(VENV)/.development
	$(BIN)/python benchmarks $(if $(DATA),"$(DATA)")

docs: $(VENV)/.development
	@command -v quarto >/dev/null || { echo "Quarto builds the site: install it from https://quarto.org/docs/download"; exit 1; }
	$(BIN)/nbdev_proc_nbs
	$(BIN)/python tools/pages.py
	cd _proc && quarto render --no-cache
	rm -rf _docs && mv _proc/_docs _docs

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
