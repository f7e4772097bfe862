# `make` lists the targets.
PORT ?= 8000
PYTHON ?= python3
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 180
SOAK_SOCKETS ?= 2000
VENV := .venv

.DEFAULT_GOAL := help
.PHONY: help bench demo demo-channels demo-consumers demo-django demo-flask demo-flask-rooms test test-all fuzz soak conformance release clean python

help:  ## show this list
	@echo "make demo              run a chat on http://127.0.0.1:$(PORT)/ (PORT=9000 for another port); stop it with Ctrl-C"
	@echo "make demo-django       run chats in Django: three chats, an echo, logins and the admin"
	@echo "make demo-channels     run a chat for Django Channels, with the package channels, on a WSGI server"
	@echo "make demo-consumers    run a chat with consumers in Django: rooms, groups, logins"
	@echo "make demo-flask        run a chat in Flask: to all users, one user, a group, or this browser only"
	@echo "make demo-flask-rooms  run a chat with consumers in Flask: one websocket in several rooms"
	@echo "make test              check format, lint, types and import contracts, and test the built wheel"
	@echo "make test-all          the same, plus the tests of all other servers and of the oldest Django and Channels"
	@echo "make fuzz              run the fuzz tests, $(FUZZ_SECONDS) seconds per target (FUZZ_SECONDS=600 for more)"
	@echo "make soak              run a soak test: $(SOAK_SOCKETS) websockets (SOAK_SOCKETS=500 for fewer) for $(SOAK_SECONDS) seconds"
	@echo "make bench             measure the cost of a message, compared with other servers: 40 minutes (BENCH_QUICK=1: 5 minutes)"
	@echo "make conformance       run all Autobahn cases with all servers and clients; takes hours"
	@echo "make release           build sdist, wheel and npm package into dist/ and check them; uploads nothing"
	@echo "make clean             remove the virtual environments and all build output"

demo: $(VENV)/.installed
	@exec $(VENV)/bin/wsredis demo --port $(PORT)

demo-django: $(VENV)/.django
	@exec $(VENV)/bin/wsredis demo --django --port $(PORT)

demo-channels: $(VENV)/.channels
	@exec $(VENV)/bin/wsredis demo --channels --port $(PORT)

demo-consumers: $(VENV)/.django
	@exec $(VENV)/bin/wsredis demo --consumers --port $(PORT)

demo-flask: $(VENV)/.flask
	@exec $(VENV)/bin/wsredis demo --flask --port $(PORT)

demo-flask-rooms: $(VENV)/.flask
	@exec $(VENV)/bin/wsredis demo --flask-rooms --port $(PORT)

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

release: python
	@exec $(PYTHON) scripts/release

clean:
	rm -rf $(VENV) .venv-test build dist test-output htmlcov benchmarks/build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find wsredis adapters examples tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The project is installed in editable mode, so only changed metadata requires a new installation.
$(VENV)/.installed: setup.cfg pyproject.toml wsredis/version.py | python
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "wsredis: cannot create a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing wsredis into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[uwsgi,embedded]'
	@touch $@

$(VENV)/.django: $(VENV)/.installed
	@echo "Installing Django into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[django]'
	@touch $@

$(VENV)/.channels: $(VENV)/.installed
	@echo "Installing Channels into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[django,layers]' channels
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
	@echo "Installing the dependencies of the tests into $(VENV) (once) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "wsredis needs Python 3.11 or newer, which '$(PYTHON)' is not: run 'make PYTHON=/path/to/python3 ...'." >&2; exit 1; }
