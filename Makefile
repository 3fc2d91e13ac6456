# Two commands matter: `make book` and `make test`. `make` lists them all.

PYTHON ?= python3
UV_VERSION = 0.13.9
UV := $(if $(shell command -v uv),uv,.tools/bin/uv)
NEED_UV := $(filter .tools/bin/uv,$(UV))
VENV = .venv
SITE = .venv-site
BENCH = .venv-bench
COURSE = $(HOME)/vae-course
PAGE = _build/html/index.html

# a relative path would mean another folder inside each notebook; make's own
# functions for paths take one with a space for two
ifdef MINIVAE_DATA
ifeq ($(filter /%,$(firstword $(MINIVAE_DATA))),)
override MINIVAE_DATA := $(CURDIR)/$(MINIVAE_DATA)
endif
export MINIVAE_DATA
endif
# uv does not read pip's settings
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export MPLBACKEND = agg
export PYDEVD_DISABLE_FILE_VALIDATION = 1

EMPTY :=
ADDRESS = file://$(subst $(EMPTY) $(EMPTY),%20,$(CURDIR))/$(PAGE)

.DEFAULT_GOAL := help
.PHONY: help book pdf serve test test-all release-check lint nbval faults \
  mutants bench lab course refresh seeds appendices exercises format lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

book: $(SITE)/.ready ## build the pages from stored outputs
	$(SITE)/bin/jupyter-book build -n -W --keep-going .
	@echo
	@echo "The book: $(ADDRESS)"
	@echo "Open this address in a browser, or run: make serve"

pdf: book $(VENV)/.ready ## print the book into one file, with Chromium
	$(VENV)/bin/python book/_ext/print_book.py

serve: ## show the built pages at http://localhost:8000
	@test -f $(PAGE) || $(MAKE) book
	"$(PYTHON)" -m http.server --bind 127.0.0.1 --directory _build/html 8000

# up to eight cores run tests, one thread each; a chapter stays on its core
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(VENV)/bin/python -m pytest -n logical \
  --maxprocesses 8
NBVAL = $(PYTEST) --dist loadfile book --ignore=book/exercises --nbval \
  --nbval-current-env --nbval-cell-timeout=1800 \
  --nbval-kernel-startup-timeout=600 --durations=5 -p no:cacheprovider

test: lint ## lint, unit tests, all chapters on the built-in digits
	$(PYTEST) --dist worksteal -m "not slow"
	MINIVAE_DIGITS=builtin $(NBVAL)

test-all: test book ## and pages, browser, faults, grading, chapters on MNIST
	$(PYTEST) --dist loadfile --no-loadscope-reorder -m slow
	if $(VENV)/bin/python -c "import minivae; minivae.load_digits('mnist')" \
	  2>/dev/null; then $(NBVAL); \
	  else echo "No MNIST: the chapters ran on the built-in digits alone"; fi

release-check: $(VENV)/.ready ## test-all on MNIST, and no output is out of date
	$(VENV)/bin/python book/_ext/refresh.py --check
	$(VENV)/bin/python -c "import minivae; minivae.load_digits('mnist')"
	$(MAKE) test-all

lint: $(VENV)/.ready ## check style, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --no-error-summary

nbval: $(VENV)/.ready ## run the chapters and compare them with what is stored
	$(NBVAL)

faults: $(VENV)/.ready ## make every fault happen and count what is lost
	cd tests && ../$(VENV)/bin/python -m faults

mutants: $(VENV)/.ready ## break what changed: do tests notice? [ARGS=objective]
	$(VENV)/bin/python tests/mutants.py $(ARGS)

bench: $(BENCH)/.ready ## compare speed with other packages [ARGS=--quick]
	$(BENCH)/bin/python -m benchmarks $(ARGS)

lab: $(VENV)/.ready ## open the chapters in JupyterLab
	JUPYTER_CONFIG_PATH="$(CURDIR)/book/_ext/lab:$$JUPYTER_CONFIG_PATH" \
	  $(VENV)/bin/jupyter lab --notebook-dir=book

course: $(VENV)/.ready ## open JupyterLab with nbgrader in [COURSE=folder]
	mkdir -p "$(COURSE)"
	test -e "$(COURSE)/source" || \
	  cp -r course/source course/nbgrader_config.py "$(COURSE)"
	cd "$(COURSE)" && "$(CURDIR)/$(VENV)/bin/jupyter" lab

refresh: $(VENV)/.ready ## store what is out of date anew [CHAPTER=name, --all]
	$(VENV)/bin/python book/_ext/refresh.py $(CHAPTER)

seeds: $(VENV)/.ready ## run chapters with other seeds: which claims hold?
	$(VENV)/bin/python book/_ext/seeds.py $(CHAPTER)

appendices: $(VENV)/.ready ## write claims, versions, package and API pages
	$(VENV)/bin/python book/_ext/appendices.py

exercises: $(VENV)/.ready ## write the students' notebooks and their pages
	$(VENV)/bin/python course/exercises.py

format: $(VENV)/.ready ## format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: $(NEED_UV) ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --all-extras --no-emit-index-url --no-header \
	  --upgrade --output-file requirements.lock pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-deps \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --upgrade --output-file benchmarks/requirements.txt \
	  benchmarks/requirements.in

clean: ## remove what was built and installed
	rm -rf _build $(VENV) $(SITE) $(BENCH) .tools .cache \
	  .pytest_cache .ruff_cache .mypy_cache

# --- set-up, once; repeated only when the lock or the project changes -------

$(VENV)/.ready: requirements.lock pyproject.toml | $(NEED_UV)
	@echo "Setting up $(VENV), a minute or more: 5 GB, of which 4 are the"
	@echo "CUDA libraries that PyTorch brings on Linux, with or without a GPU"
	@for tool in chromium cc; do command -v $$tool >/dev/null || \
	  echo "No $$tool here: what needs it is left out"; done
	$(UV) venv --quiet --clear --python "$(PYTHON)" $(VENV)
	$(UV) pip install --quiet --python $(VENV) --require-hashes \
	  -r requirements.lock
	$(UV) pip install --quiet --python $(VENV) --no-deps -e .
	@touch $@

$(SITE)/.ready: requirements.lock pyproject.toml | $(NEED_UV)
	@echo "Setting up $(SITE): the page builder, without torch"
	$(UV) venv --quiet --clear --python "$(PYTHON)" $(SITE)
	$(SITE)/bin/python -c "import tomllib; print('\n'.join(tomllib.load( \
	  open('pyproject.toml', 'rb'))['project']['optional-dependencies'][ \
	  'site']))" > $(SITE)/site.in
	$(UV) pip install --quiet --python $(SITE) -r $(SITE)/site.in \
	  -c requirements.lock
	@touch $@

$(BENCH)/.ready: requirements.lock benchmarks/requirements.txt \
  pyproject.toml | $(NEED_UV)
	@echo "Setting up $(BENCH): $(VENV) and what it is compared with"
	$(UV) venv --quiet --clear --python "$(PYTHON)" $(BENCH)
	$(UV) pip install --quiet --python $(BENCH) --require-hashes \
	  -r requirements.lock
	$(UV) pip install --quiet --python $(BENCH) --require-hashes --no-deps \
	  -r benchmarks/requirements.txt
	$(UV) pip install --quiet --python $(BENCH) --no-deps -e .
	@touch $@

.tools/bin/uv:
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; \
	    exit 1; }
	@{ "$(PYTHON)" -m venv .tools >/dev/null 2>&1 && \
	   .tools/bin/python -m pip install -q uv==$(UV_VERSION); } || \
	 { rm -rf .tools; \
	   "$(PYTHON)" -m pip install -q --target .tools uv==$(UV_VERSION); } || \
	 { echo "Could not install uv: this Python needs its venv module or pip"; \
	   echo "(on Debian and Ubuntu: python3-venv), or put uv on the PATH."; \
	   exit 1; }
