# Start here: `make` lists what there is.
PORT ?= 8000
PYTHON ?= python3
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 180
SOAK_SOCKETS ?= 2000
VENV := .venv

.DEFAULT_GOAL := help
.PHONY: help bench demo demo-django demo-flask test test-all fuzz soak conformance clean python

help:  ## show this list
	@echo "make demo         a chat on http://127.0.0.1:$(PORT)/ (PORT=9000 for another port); Ctrl-C ends it"
	@echo "make demo-django  the same in Django: three chats, an echo, logins and the admin"
	@echo "make demo-flask   a chat in Flask: to everybody, one person, a group, or this browser only"
	@echo "make test         format, lint, types, contracts and tests, against the built wheel"
	@echo "make test-all     the same with every server, also those that differ little, and the oldest Django"
	@echo "make fuzz         inputs that nobody thought of, $(FUZZ_SECONDS) seconds for each target (FUZZ_SECONDS=600 for more)"
	@echo "make soak         $(SOAK_SOCKETS) websockets that come, go, talk and stall for $(SOAK_SECONDS) seconds (SOAK_SOCKETS=500 for fewer)"
	@echo "make bench        what a message costs, beside the peers: 20 minutes (BENCH_QUICK=1: 3 minutes)"
	@echo "make conformance  all Autobahn cases on every server and with every client; takes hours"
	@echo "make clean        remove the environments and everything that was built"

demo: $(VENV)/.installed
	@exec $(VENV)/bin/wsredis demo --port $(PORT)

demo-django: $(VENV)/.django
	@exec $(VENV)/bin/wsredis demo --django --port $(PORT)

demo-flask: $(VENV)/.flask
	@exec $(VENV)/bin/wsredis demo --flask --port $(PORT)

test: python
	@exec $(PYTHON) scripts/test

test-all: python
	@exec $(PYTHON) scripts/test --all

fuzz: $(VENV)/.fuzz
	@exec $(VENV)/bin/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

soak: $(VENV)/.conformance
	@exec $(VENV)/bin/python tests/soak/run.py --seconds $(SOAK_SECONDS) --sockets $(SOAK_SOCKETS) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

bench: $(VENV)/.installed
	@exec $(VENV)/bin/python benchmarks/run.py

conformance: $(VENV)/.conformance
	@exec $(VENV)/bin/python scripts/conformance

clean:
	rm -rf $(VENV) .venv-test build dist test-output htmlcov benchmarks/build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find wsredis adapters examples tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The project is installed in place, so only its metadata asks for a new installation.
$(VENV)/.installed: setup.cfg pyproject.toml wsredis/version.py | python
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "wsredis: no virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing wsredis into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[uwsgi,embedded]'
	@touch $@

$(VENV)/.django: $(VENV)/.installed
	@echo "Installing Django into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[django]'
	@touch $@

$(VENV)/.flask: $(VENV)/.installed
	@echo "Installing Flask into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[flask]' Flask-Login
	@touch $@

$(VENV)/.fuzz: $(VENV)/.installed
	@echo "Installing the fuzzers into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

$(VENV)/.conformance: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "wsredis needs Python 3.11 or newer, and '$(PYTHON)' is not: name one with 'make PYTHON=/path/to/python3 ...'." >&2; exit 1; }
