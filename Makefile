# Needs Python 3.11 or newer, nothing else. The virtual environment is .venv; `make -B install` makes it anew.

PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
BIN := .venv/bin
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install run test chaos simulate fuzz soak lint types format lock sbom audit bench bench-quick

install: $(RUNTIME)

run: $(RUNTIME)
	@$(BIN)/redemptions run

# Two at a time, a file as a whole, as many tests wait for something; `PROCESSES=0` for a debugger.
PROCESSES ?= 2

test: $(DEV)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile $(ARGS)

SEED ?= 1
MINUTES ?= 10

chaos: $(DEV)
	$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES)

SEEDS ?= 1000

# SEEDS=10000: so many schedules, from the seed FIRST on. SEED=7: this one alone, with its trace.
simulate: $(DEV)
	$(BIN)/python -m tests.simulation \
		$(if $(filter command environment,$(firstword $(origin SEED))),--seed $(SEED),--seeds $(SEEDS)) \
		$(if $(FIRST),--first $(FIRST))

# Decoding and signature under a coverage-guided fuzzer, so many seconds for each target.
SECONDS ?= 600

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# The ingress under a load that lasts, while its broker dies twice: memory, latency, and nothing lost. Wants a machine
# to itself. RATE=N deliveries a second, else half of what the ingress can take.
soak: $(DEV)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(RATE),--rate $(RATE))

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade \
	--group build pyproject.toml

lock: $(DEV)
	$(LOCK) -o requirements.lock
	$(LOCK) --group dev --constraints requirements.lock -o requirements-dev.lock

# What the image holds, from the lock alone: CycloneDX, with a version and hashes for each package. Asks no network.
SBOM ?= dist/sbom.cdx.json

sbom: $(DEV)
	@mkdir -p $(dir $(SBOM))
	$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible -o $(SBOM)

# Known vulnerabilities of what the lock holds. Asks the advisory database, so it needs the network; --strict: what
# cannot be looked up is a failure.
audit: $(DEV)
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes --requirement requirements.lock

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# A lock is installed whole, each file checked against its hash; then the project itself, which changes nothing
# else and asks no index. The stamps make a second call free.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

# An hour or two; figures go to bench/results/, and a run that was stopped goes on where it was.
bench: $(DEV)
	$(BIN)/python -m bench worker
	$(BIN)/python -m bench ingress
	$(BIN)/python -m bench latency
	$(BIN)/python -m bench growth
	$(BIN)/python -m bench memory
	$(BIN)/python -m bench report

# Two minutes: ours beside the raw loop; fails when it became slower than bench/results/quick.json says.
bench-quick: $(DEV)
	$(BIN)/python -m bench quick
