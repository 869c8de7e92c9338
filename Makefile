# Every target except help, doctor, lock and clean first makes .venv if it is missing or older than requirements.lock or
# pyproject.toml. GNU make 3.81 (macOS) is enough. On Windows, use environment.yml.

PY    := .venv/bin/python
READY := .venv/.ready
UV    := build/uv/bin/uv
ARGS  :=

# One of TensorFlow's threads mostly waits, so with as many threads as cores, a core idles. On two cores a training step
# of MiniVGG (batch 32) took 0.43 s with 2 threads and 0.27 s with 3.
export TF_NUM_INTRAOP_THREADS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)

# Sets the shell's $python to the first Python that runs, is recent enough and can make environments.
# Each candidate is run, not only looked up: a pyenv shim may be on the PATH without a Python that it could start.
define find_python
python=; \
for candidate in "$(PYTHON)" python3.13 python3.12 python3.11 python3 python; do \
  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    >/dev/null 2>&1; then python=$$candidate; break; fi; \
  if [ -n "$(PYTHON)" ] && [ "$$candidate" = "$(PYTHON)" ]; then \
    echo "PYTHON=$(PYTHON) is not Python 3.11, 3.12 or 3.13 with venv and ensurepip; trying others." >&2; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "No Python 3.11, 3.12 or 3.13 with venv and ensurepip was found." >&2; \
  echo "Fix: install one (Debian, Ubuntu: apt install python3 python3-venv), or give the path of yours:" >&2; \
  echo "      make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi
endef

.PHONY: help setup lab walkthrough site doctor quick test lint bench lock clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | while IFS='	' read -r target does; do \
	  printf 'make %-12s %s\n' "$$target" "$$does"; done

setup: $(READY) ## make .venv, which most other targets do first
	@echo "Ready: make lab, or . .venv/bin/activate and fcn-keras --help"

lab: $(READY) ## read and run the chapters in JupyterLab
	TF_CPP_MIN_LOG_LEVEL=2 $(PY) -m jupyter lab --ServerApp.root_dir="$(CURDIR)" \
	  --LabApp.default_url=/lab/tree/notebooks/00_contents.ipynb $(ARGS)

walkthrough: $(READY) ## run all chapters, write build/walkthrough/index.html (ARGS="--fast 2 3")
	$(PY) notebooks/build.py $(ARGS)

site: $(READY) ## render chapters and API reference as they are, build/site/index.html
	@mkdir -p build/site-source
	$(PY) -m sphinx -q -W --keep-going -c docs -d build/site-doctrees build/site-source build/site $(ARGS)
	@echo build/site/index.html

# It needs no .venv: where there is none, or its Python is gone, it runs with any other.
doctor: ## check this machine: what is installed, what is missing, and how to fix it
	@if $(PY) -c '' 2>/dev/null; then python=$(PY); else $(find_python); fi; \
	$$python -m fcn_keras.cli.doctor $(ARGS)

quick: lint ## lint, then run the tests that are not marked slow: two minutes on two cores (ARGS="tests/layers")
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test: lint ## lint, then run every test (ARGS="tests/test_metrics.py")
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## ruff over code and notebooks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: $(READY) ## speed against peers, one table (ARGS="--only upsampling"; hours for all of it)
	$(PY) -m benchmarks.speed $(ARGS)

lock: $(UV) ## bring requirements.lock in line with pyproject.toml (newest versions: ARGS=--upgrade)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --extra notebooks --extra tests --extra site --extra beam --extra video --extra export --extra instances --extra tiff --custom-compile-command "make lock" $(ARGS) \
	  pyproject.toml -o requirements.lock

clean: ## remove rendered chapters and caches; keeps .venv, data and runs
	rm -rf build dist .pytest_cache .ruff_cache *.egg-info
	find fcn_keras tests notebooks -name __pycache__ -prune -exec rm -rf {} +
	find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +

# The stamp is written last. Without it .venv is incomplete and is made anew; with an old stamp pip only
# fetches what has changed. A .venv whose Python was uninstalled is also made anew. The kernel's setting
# sends what TensorFlow logs from C++ to the terminal of `make lab`, not into the chapters.
$(READY): requirements.lock pyproject.toml $(if $(realpath $(PY)),,FORCE)
	@if [ -e $@ ] && $(PY) -c '' 2>/dev/null; then rm -f $@; else \
	  rm -f $@; $(find_python); \
	  echo "Making .venv with $$($$python --version): some minutes, about 4 GB of disk, once."; \
	  "$$python" -m venv --clear .venv; fi
	$(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@mkdir -p .venv/etc/ipython
	@echo '{"IPKernelApp": {"capture_fd_output": false}}' > .venv/etc/ipython/ipython_kernel_config.json
	@touch $@

# No .ready here: the lock can be fixed while it cannot be installed.
$(UV):
	@$(find_python); "$$python" -m venv --clear build/uv
	build/uv/bin/python -m pip install --disable-pip-version-check --quiet uv
