# Two commands on a machine with git, make and Python >= 3.11:  make report   and   make test
PYTHON ?= python3
# Runs, notebooks or test files at a time, each with one thread: one a core, but no more than there are 2 GB for.
CORES ?= $(shell n=$$(OMP_NUM_THREADS= OMP_THREAD_LIMIT= nproc 2> /dev/null || getconf _NPROCESSORS_ONLN); \
  m=$$(($$(getconf _PHYS_PAGES) * $$(getconf PAGE_SIZE) / 2000000000)); echo $$((m < 1 ? 1 : n < m ? n : m)))
# LOWEST=1: in .venv-lowest, with the lowest versions that pyproject.toml allows.
VENV := .venv$(if $(LOWEST),-lowest)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where torch comes from: `lock` is the registry's build (on Linux with CUDA); cpu, cu126, rocm7.2, auto, ... are uv's back-ends.
# Said once: the environment keeps the word. docs/install.md says what was tried.
KEPT := $(or $(shell cat $(VENV)/.torch 2> /dev/null),lock)
TORCH ?= $(KEPT)
ANOTHER := $(if $(filter-out $(KEPT),$(TORCH)),another-torch)
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
WORKFLOW := $(RUN) snakemake --profile profiles/local --cores $(CORES)
# Quoted by the shell from its environment, where make puts what stands on its command line: a folder may have any name.
CONFIG := $${DATA_ROOT:+data_root="$$DATA_ROOT"} $${EPOCHS:+epochs="$$EPOCHS"} $${N_TRAIN:+n_train="$$N_TRAIN"} \
  $${BATCH_SIZE:+batch_size="$$BATCH_SIZE"} $${RUNS_DIR:+runs_dir="$$RUNS_DIR"}
CHANGES := $${DATA_ROOT:+--data_root="$$DATA_ROOT"} $${EPOCHS:+--epochs="$$EPOCHS"} $${N_TRAIN:+--n_train="$$N_TRAIN"} \
  $${BATCH_SIZE:+--batch_size="$$BATCH_SIZE"} $${RUNS_DIR:+--runs_dir="$$RUNS_DIR"}

.PHONY: setup another-torch report fast test lint unit lowest notebooks wheel lab test-all bench device-budget gpu plan paper sweep \
  table1 table1-cifar10 table1-stl10 table1-lc25000 table1-imagenet table1-imagenet100 figure3 figure4 figure5 figure6 figure7 \
  evidence evidence-status precision-check lock clean

setup: $(READY)

# uv lives in a folder of its own; the user's Python gets nothing installed.
.tools/bin/uv:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12"'
	@$(PYTHON) -m venv .tools || { echo "The venv module is missing: install python3-venv, or name another Python: make PYTHON=..."; rm -rf .tools; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

UV := .tools/bin/uv
HERE := --quiet --python $(BIN)/python
BACKEND := $(if $(filter-out lock,$(TORCH)),--torch-backend "$(TORCH)")
WITH_HASHES := pip sync $(HERE) --compile-bytecode --require-hashes
TORCHES = $(shell sed -nE 's/^(torch|torchvision)==([^ ]+) .*/\1==\2/p' requirements.lock)

ifneq ($(LOWEST),)
define INSTALL
	$(UV) pip compile $(HERE) $(BACKEND) --upgrade --resolution lowest-direct --all-extras --no-header pyproject.toml -o $(VENV)/lowest.txt
	$(UV) pip sync $(HERE) $(BACKEND) --compile-bytecode $(VENV)/lowest.txt
endef
else ifeq ($(TORCH),lock)
define INSTALL
	$(UV) $(WITH_HASHES) requirements.lock
endef
else
# The lock without torch and what torch alone needs; then the same versions of torch from elsewhere, whose hashes the lock does not know.
define INSTALL
	awk '/^[A-Za-z0-9]/ { left = /^(torch|torchvision|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==/ } !left' requirements.lock > $(VENV)/others.lock
	$(UV) $(WITH_HASHES) $(VENV)/others.lock
	$(UV) pip install $(HERE) --compile-bytecode $(BACKEND) $(TORCHES)
endef
endif

# The project comes last, because an installer that checks hashes refuses an editable project in the same call.
# Another torch goes first: to an installer 2.15.0+cpu is 2.15.0. A set-up that fails on its way is not taken for ready.
$(READY): requirements.lock pyproject.toml $(ANOTHER) | $(UV)
	@test "$(TORCH)" = lock || $(UV) pip compile --quiet $(BACKEND) - < /dev/null > /dev/null 2>&1 || \
	  { echo "TORCH=$(TORCH) is not allowed: it must be lock, auto or one of uv's back-ends: cpu, xpu, cu126, rocm7.2, ..."; exit 1; }
	@rm -f $@
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(if $(ANOTHER),$(UV) pip uninstall $(HERE) torch torchvision)
	@echo "$(TORCH)" > $(VENV)/.torch
	$(INSTALL)
	$(UV) pip install $(HERE) --no-deps --no-build-isolation --editable .
	@touch $@

# Executes the notebooks and builds the site, which needs no network, neither to build nor to read; does only what has changed.
report fast: $(READY)
	$(WORKFLOW) $@
	@echo "reports/html/index.html"

# JupyterLab at the notebooks; profiles/lab keeps it from asking the network for news and newer versions.
# Flags of Jupyter's own: make lab LAB="--no-browser --port=9999 --allow-root"
lab: $(READY)
	$(RUN) JUPYTER_CONFIG_PATH="$(CURDIR)/profiles/lab$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  jupyter lab --LabApp.default_url=/lab/tree/notebooks $(LAB)

# Lint and types, unit tests, then the notebooks against their stored outputs. Runs that exist are reused.
test: lint unit notebooks

lint: $(READY)
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

# CORES files at a time; those that take longest begin first. What is said to this make is not meant for those that tests call.
IN_ORDER = -n $(CORES) --dist loadfile --no-loadscope-reorder $(LONGEST) $(filter-out $(LONGEST),$(wildcard $1))
unit: LONGEST = $(foreach n,parallel workflow evidence device_step identity train notebooks branches waiting plan progress gpu,\
  tests/unit/test_$n.py)
unit: $(READY)
	unset LOWEST TORCH MAKEFLAGS; $(RUN) OMP_NUM_THREADS=1 pytest $(call IN_ORDER,tests/unit/test_*.py) $(UNLOCKED)

# The unit tests with the lowest versions that pyproject.toml allows, but the one that asks for the lock's.
lowest: ; $(MAKE) unit LOWEST=1
UNLOCKED := $(if $(LOWEST),--deselect tests/unit/test_project.py::test_what_runs_is_what_is_locked)

# 08 trains what 06, 07 and 09 measure.
notebooks: LONGEST = $(foreach n,08 10 02 06 09,$(wildcard notebooks/$n_*))
notebooks: $(READY)
	$(RUN) OMP_NUM_THREADS=1 pytest --nbval --nbval-cell-timeout=1800 $(call IN_ORDER,notebooks/*.ipynb)

# dist/*.whl
wheel: $(READY)
	$(UV) build --quiet --wheel --python $(BIN)/python

# Some fifty minutes on two cores, as many files at a time: sweeps that are killed, a real SLURM (where Debian's slurmctld, slurmd, slurm-client
# and munge are installed), faults, damaged files; each method in two processes; make gpu whole, on the CPU; the late networks on real images
# (where INFOMAX_DATA names CIFAR-10's folder); site and lab in Chromium (where it is); empty environments; the README.
test-all: $(READY)
	$(RUN) pytest -n $(CORES) --dist loadfile tests/slow

# Ratios against peers in one run, into reports/benchmarks/; time it when nothing else runs. DATA_ROOT takes real CIFAR-10.
# Beside peers, threads wait as torch's do everywhere else: awake for a moment. Where runs are timed, as runs' do: asleep.
bench: $(READY)
	cd benchmarks && unset OMP_WAIT_POLICY && for name in loss views step throughput epoch report engine late_step side_by_side busy; do \
	  case $$name in loss | views | step | epoch) export GOMP_SPINCOUNT=300000 ;; *) unset GOMP_SPINCOUNT ;; esac; \
	  case $$name in epoch) set -- $${DATA_ROOT:+--data-root "$$DATA_ROOT"} ;; *) set -- ;; esac; \
	  PATH="$(CURDIR)/$(BIN):$$PATH" python $$name.py "$$@" || exit 1; \
	done

# Launches and waits of a training step on a GPU, counted on a machine that has none; BATCH_SIZE=n.
device-budget: $(READY)
	$(RUN) OMP_NUM_THREADS=1 python tests/unit/device_budget.py $${BATCH_SIZE:+--batch "$$BATCH_SIZE"}

# What one GPU does in MINUTES: checks against the CPU, speeds beside peers, then Table 1's rows and the runs of docs/plan.md,
# ours first. Started again, it goes on. A trial of all of it on the CPU, without data: make gpu MINUTES=2 DEVICE=cpu
gpu: $(READY)
	$(RUN) python -m pipeline.gpu --minutes "$${MINUTES:-30}" --device "$${DEVICE:-cuda}" \
	  $${DATA_ROOT:+--data-root "$$DATA_ROOT"} $${RUNS_DIR:+--runs-dir "$$RUNS_DIR"} $${REPORTS:+--reports "$$REPORTS"}

# What the runs of the paper cost before they start; of other files: make plan FILES="params/kappa_cifar10.yaml"
# CSV=FILE writes the same there, with the runs' folders.
plan: $(READY)
	@$(RUN) python -m pipeline.plan $(FILES) $${CSV:+--csv "$$CSV"}

# Every run of the paper; all rows of Table 1, or one data set's; a figure's runs. 200 epochs each, for a GPU. Started again,
# each goes on where it was. A trial: make table1-cifar10 EPOCHS=1 N_TRAIN=512 [DATA_ROOT=DIR]
# On CPUs a run takes one thread and CORES of them go at once; few runs on many cores: snakemake ... --config threads=N
# On a cluster: snakemake --profile profiles/slurm paper --config data_root=DIR
paper table1 table1-cifar10 table1-stl10 table1-lc25000 table1-imagenet table1-imagenet100 figure3 figure4 figure5 figure6 figure7: $(READY)
	@$(RUN) python -m pipeline.targets check $(subst -,_,$@) $(CHANGES)
	$(WORKFLOW) $(subst -,_,$@) --config $(CONFIG)
	@$(RUN) python -m pipeline.targets made $(subst -,_,$@) $(CHANGES)

# Every combination that parameter files ask for: make sweep SWEEP=params/kappa_cifar10.yaml[,FILE] [DATA_ROOT=DIR]
sweep: $(READY)
	@$(RUN) python -m pipeline.targets check sweep --sweep "$$SWEEP" $(CHANGES)
	$(WORKFLOW) sweep --config sweep="$$SWEEP" $(CONFIG)
	@$(RUN) python -m pipeline.targets made sweep --sweep "$$SWEEP" $(CHANGES)

# Starts the runs of docs/plan.md, or goes on with them: one a core, at the lowest priority; docs/evidence.md says how.
# ONLY=a,b runs only these; REPORTS=DIR keeps results in another checkout; RUNS_DIR=DIR.
EVIDENCE := $${DATA_ROOT:+--data-root "$$DATA_ROOT"} $${RUNS_DIR:+--runs-dir "$$RUNS_DIR"} $${REPORTS:+--reports "$$REPORTS"}
evidence: $(READY)
	$(RUN) python -m pipeline.evidence.queue $(EVIDENCE) --cores $(CORES) $${ONLY:+--lines "$$ONLY"}

# CSV=FILE writes the table there, too.
evidence-status: $(READY)
	$(RUN) python -m pipeline.evidence.status $(EVIDENCE) $${ONLY:+--lines "$$ONLY"} $${CSV:+--csv "$$CSV"}

# May bf16 stand in for float32? Twelve pairs of runs on 5,000 images of CIFAR-10, and their verdict.
precision-check: $(READY)
	$(RUN) python -m pipeline.evidence.queue $(EVIDENCE) --cores $(CORES) --lines 0
	$(RUN) python -m pipeline.evidence.precision $(EVIDENCE)

lock: | $(UV)
	$(UV) pip compile --quiet --universal --generate-hashes --all-extras --python-version 3.11 \
	  --no-header --upgrade pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .venv-lowest .tools .snakemake reports/html reports/notebooks dist build
