# Users:
# make demo   builds an engine from published weights and finds a face in a photo
# make triton-demo   does the same through NVIDIA's Triton server, which it installs in build/triton
# make ray-demo   does the same with two workers of Ray, which it installs in build/ray
#
# Developers:
# make check   runs the linters and the quick tests: without engines and the emulator
# make lint   runs the linters; make format formats the sources
# make test   runs all tests, WORKERS=2 processes at a time; KERNEL_SEED=7: the operators' tests with other random cases
# make test-kernels SEED=7   runs only these
# make sanitize   runs the CPU operators' tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
# make fuzz SECONDS=600   tries hostile inputs on all readers and operators, for so long (docs/security.md). SEED=7 repeats a
#     run; else the seed is a new one, which is printed
# make mutants   breaks the CUDA kernels on purpose, about 220 times, and checks that the tests notice
# make test-triton   runs the tests that need Triton's server
# make test-ray   runs the tests that need Ray
# make test-gpu   runs the tests that need an NVIDIA GPU
# make gpu-kernels   compiles, tests, checks and times the kernels on an NVIDIA GPU without TensorRT and without installing
#     anything, in less than 8 minutes. PYTHON=python3: with PyTorch, CuPy and pytest. TENSORRT_ROOT=DIR: with TensorRT's
#     headers. Logs and figures go to build/gpu-kernels, or to OUT=DIR
# make wheel   makes a source distribution and wheels for every Python found, in dist/
# make test-wheel   installs the wheel for this Python into a new environment, builds an engine there and finds a face
# make lock   rewrites constraints.txt with the newest versions of all packages
# make reference   writes the reference of the public names, from their docstrings, to build/reference
# make clean   removes everything that was built, and .venv
#
# Measurements, which rewrite tables of docs/:
# make kernel-table   compiles the kernels for every architecture (docs/development/kernels.md)
# make kernel-table-check   only compares with that table
# make kernel-counts   counts the work of the kernels on the CUDA emulator, tools/cuda_emulator (docs/development/kernels.md)
# make kernel-model    counts the same for the modelled times of that page, for about ten minutes
# make model-table   builds every preset as published, for minutes (docs/models.md); make family only compares
# make precision-table FACES=DIR PHOTOS=DIR WEIGHTS=FILE   measures every precision (docs/precision.md)
# make gpu-report   runs test-gpu's tests and serve_bench on a machine with a GPU (docs/performance.md)
# make peers PHOTOS=DIR   measures other CPU packages with the same weights, each in its own environment. Writes
#     build/peers.json; DOCUMENT=1 also writes docs/performance.md. THREADS=2: cores for each. CALIBRATE=DIR: photos to
#     calibrate the INT8 engine
#
# Each target but gpu-kernels sets up .venv if it needs it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
VENV ?= .venv
PY := $(VENV)/bin/python
DEMO := build/demo
TRITON := build/triton
RAY := build/ray
SOURCES := $(shell find csrc plugins cmake -type f) CMakeLists.txt pyproject.toml $(wildcard scripts/*) constraints.txt
CXX_FILES := $(shell find csrc plugins tests benchmarks tools -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu')
EMULATOR_SOURCES := $(shell find tools -name '*.txt' -o -name '*.map' -o -name '*.h' -o -name '*.cpp' -o -name '*.cu') \
	$(wildcard tests/csrc/*/*.cpp benchmarks/kernels/*.cpp benchmarks/kernels/*/*.cu)

# Of gpu-kernels, which installs nothing.
PYTHON ?= python3

SEED ?= 1
SECONDS ?= 60
# Test processes at a time, of up to 4 GB each. A process without work takes over tests from another.
WORKERS ?= 2
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist worksteal
# Options of python -m tests.csrc.mutants, such as MUTANTS=--quick.
MUTANTS ?=

BROWSER := $(firstword $(shell command -v chromium-headless-shell chromium chromium-browser google-chrome))

.PHONY: demo test check test-kernels sanitize fuzz test-gpu triton-demo test-triton ray-demo test-ray gpu-kernels gpu-report mutants lint format clean wheel test-wheel lock reference family \
	model-table precision-table peers kernel-table kernel-table-check kernel-counts kernel-model

demo: $(VENV)/.demo
	@mkdir -p $(DEMO)
	$(PY) build_engine.py --precision fp16 --output $(DEMO)/retinaface_fp16.engine
	@$(PY) -c "import skimage.data as d, pathlib; print(pathlib.Path(d.__file__).parent / 'astronaut.png')" > $(DEMO)/.photo
	$(PY) -m engine detect --engine $(DEMO)/retinaface_fp16.engine --annotate $(DEMO) \
		"$$(cat $(DEMO)/.photo)" | tee $(DEMO)/astronaut.json
	@rm $(DEMO)/.photo
	@echo "Look at $(DEMO)/astronaut.png."

triton-demo: $(TRITON)/.ready $(TRITON)/faces.engine
	@rm -rf $(TRITON)/repository
	$(PY) -m engine export --format triton --engine $(TRITON)/faces.engine --output $(TRITON)/repository
	$(TRITON)/venv/bin/python scripts/triton_demo.py $(TRITON)/repository

test-triton: $(TRITON)/.ready $(TRITON)/faces.engine
	$(TRITON)/venv/bin/python -m pytest tests/triton --triton=$(TRITON)/faces.engine

ray-demo test-ray: export RAY_USAGE_STATS_ENABLED := 0
ray-demo: $(RAY)/.ready $(RAY)/faces.engine
	@rm -rf $(RAY)/photos $(RAY)/faces
	@mkdir $(RAY)/photos
	@$(PY) -c "import skimage.data as d, pathlib; print(pathlib.Path(d.__file__).parent / 'astronaut.png')" | \
		xargs -I{} cp {} $(RAY)/photos
	$(RAY)/venv/bin/python examples/ray_folder.py $(RAY)/faces.engine $(RAY)/photos $(RAY)/faces
	$(RAY)/venv/bin/python examples/ray_serve.py $(RAY)/faces.engine $(RAY)/photos/astronaut.png --port 8765

test-ray: $(RAY)/.ready $(RAY)/faces.engine $(RAY)/own.engine
	$(RAY)/venv/bin/python -m pytest tests/ray --ray=$(RAY)/faces.engine

test: $(VENV)/.test build/emulator/.built
	$(PYTEST) $(if $(BROWSER),--browser=$(BROWSER)) $(if $(KERNEL_SEED),--kernel-seed $(KERNEL_SEED))

check: lint
	$(PYTEST) tests -m "not slow and not gpu" --core-seconds 10

test-kernels: $(VENV)/.test build/emulator/.built
	$(PYTEST) tests/csrc/ops tests/csrc/launchers tests/csrc/plugins --seed $(SEED)

sanitize: $(VENV)/.test
	scripts/sanitize $(VENV)

test-gpu: $(VENV)/.gpu build/device/.built
	$(PY) -m pytest -m gpu

gpu-kernels:
	$(PYTHON) -m benchmarks.gpu_kernels

gpu-report: $(VENV)/.gpu build/device/.built
	$(PY) -m benchmarks.gpu_report

fuzz: $(VENV)/.test
	scripts/sanitize $(VENV) build
	$(PY) -m tests.fuzz --seconds $(SECONDS) $(if $(filter-out file,$(origin SEED)),--seed $(SEED))

mutants: $(VENV)/.test build/emulator/.built
	PATH=$(abspath $(VENV))/bin:$$PATH $(PY) -m tests.csrc.mutants $(MUTANTS)

lint: $(VENV)/.test build/stubs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/hadolint containers/Dockerfile
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(CXX_FILES)

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(CXX_FILES)

kernel-table kernel-table-check: $(VENV)/.test
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m benchmarks.kernels.compile_sweep $(if $(findstring check,$@),--check)

kernel-counts: $(VENV)/.test build/emulator/.built
	$(PY) -m benchmarks.kernels.count

kernel-model: $(VENV)/.test build/emulator/.built
	$(PY) -m benchmarks.kernels.model --count

family model-table: $(VENV)/.test
	$(PY) -m benchmarks.models $(if $(findstring family,$@),--check)

precision-table: $(VENV)/.test
	$(PY) -m benchmarks.precision --sources "$(FACES)" --photos "$(PHOTOS)" $(if $(WEIGHTS),--weights "$(WEIGHTS)")

peers: $(VENV)/.test
	$(PY) -m benchmarks.peers --photos "$(PHOTOS)" $(if $(CALIBRATE),--calibrate "$(CALIBRATE)") \
		$(if $(THREADS),--threads $(THREADS)) $(if $(DOCUMENT),--document)

wheel:
	scripts/make-wheels

test-wheel: $(VENV)/.test
	@wheel=$$(ls dist/*-cp$$($(PY) -c 'import sys; print("%d%d" % sys.version_info[:2])')-*.whl) || \
		{ echo "dist/ holds no wheel for this Python: run make wheel first." >&2; exit 1; }; \
	$(PY) -m pytest tests/packaging/test_wheel.py --wheel=$$wheel

reference: $(VENV)/.test
	$(PY) scripts/api_reference.py build/reference
	@echo "Look at build/reference/index.html."

lock: $(VENV)/.test
	$(PY) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --constraint constraints.txt uv
	scripts/lock build/lock/bin/uv

clean:
	rm -rf build dist $(VENV)

$(VENV)/.demo: $(SOURCES)
	scripts/bootstrap $(VENV) build,tensorrt-rtx,openvino,demo
	@touch $@

# Triton's Python backend needs an old NumPy, so an environment of its own.
$(TRITON)/.ready: $(VENV)/.demo constraints-triton.txt
	scripts/bootstrap-triton $(TRITON)/venv $(VENV)
	@touch $@

# The fifty packages that Ray needs are not needed by anything else here.
$(RAY)/.ready: $(VENV)/.demo
	scripts/bootstrap-beside $(RAY)/venv $(VENV) constraints.txt openvino demo scale pytest
	@touch $@

$(TRITON)/faces.engine $(RAY)/faces.engine: $(VENV)/.demo
	@mkdir -p $(@D)
	$(PY) build_engine.py --precision fp32 --max-batch 4 --output $@

$(RAY)/own.engine: tests/ray/own_engine.py $(VENV)/.demo
	@mkdir -p $(@D)
	$(PY) -m tests.ray.own_engine $@

# CuPy can be imported without a GPU. Tests check that it has everything that the session and the doubles use of it.
$(VENV)/.test: $(SOURCES)
	scripts/bootstrap $(VENV) build,tensorrt-rtx,openvino,gpu,gpu-decode,demo,evaluate,train,bench,serve,compare,test
	@touch $@ $(VENV)/.demo

# Needs a GPU; fails at once without one.
$(VENV)/.gpu: $(SOURCES)
	@command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU || \
		{ echo "This needs an NVIDIA GPU and its driver: nvidia-smi finds none here." >&2; exit 1; }
	@# TensorRT-RTX has no Hopper and no data-centre Blackwell.
	builder=tensorrt-rtx; capability=$$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader --id=0); \
	case "$$capability" in 9.* | 10.*) builder=tensorrt ;; esac; \
	scripts/bootstrap $(VENV) build,$$builder,openvino,gpu,gpu-decode,demo,evaluate,train,bench,serve,compare,test
	@touch $@ $(VENV)/.test $(VENV)/.demo

build/device/.built: $(VENV)/.gpu $(SOURCES) $(wildcard tests/csrc/*/*.cpp)
	@mkdir -p $(@D)
	scripts/build-for-emulator $(VENV) device
	@touch $@

# TensorRT's type stubs. In site-packages they would look like an installed TensorRT.
build/stubs: $(VENV)/.test
	rm -rf $@ $@.part
	$(PY) -m pip install --quiet --no-deps --constraint constraints.txt --target $@.part tensorrt-stubs
	@# Fixes two syntax errors in the stubs: arguments called "in", and a default before an argument without one.
	sed -i 's/\bin: list\[/in_: list[/; s/, channel_axis: int)/, channel_axis: int = 0)/' $@.part/tensorrt_bindings/tensorrt.pyi
	mv $@.part $@
	@touch $@

# The CUDA emulator, and the kernels compiled in the form that it can run.
build/emulator/.built: $(VENV)/.test $(SOURCES) $(EMULATOR_SOURCES)
	@mkdir -p $(@D)
	scripts/build-for-emulator $(VENV)
	@touch $@
