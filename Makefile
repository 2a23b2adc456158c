# Two commands do everything: `make run` and `make test`. Both set up what is missing first.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help

.PHONY: help run test check features bench bench-icap bench-tls grade lock fmt clean

help:  ## What can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

run:  ## Set up and start the appliance on the embedded default (loopback only)
	@scripts/bootstrap run
	@exec .venv/bin/arcus run

test:  ## Set up and run every test
	@scripts/bootstrap test
	$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

check:  ## ruff, mypy --strict, import-linter
	@scripts/bootstrap check
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

features: test  ## Which feature rows have a passing test; writes docs/features.md
	$(PY) scripts/features.py --write

bench:  ## Side by side with stock mitmdump and squid; writes bench/results.md
	@scripts/bootstrap test
	$(PY) -m bench $(ARGS)

bench-icap:  ## Our ICAP server beside c-icap, then the proxies before them; writes bench/icap-results.md and scanning-results.md
	@scripts/bootstrap test
	$(PY) -m bench.icap $(ARGS)
	$(PY) -m bench.scanning $(ARGS)

bench-tls:  ## Bad certificates and TLS parameters behind Arcus, mitmdump and squid; writes bench/tls-results.md
	@scripts/bootstrap test
	$(PY) -m bench.tls $(ARGS)

grade:  ## What sslyze and testssl.sh say of the TLS that clients meet, and the letter that comes of it
	@scripts/bootstrap test
	$(PY) -m bench.grade $(ARGS)

lock:  ## Resolve the dependencies again into the lock files
	@scripts/bootstrap run
	@scripts/lock

fmt:  ## Format the code
	@scripts/bootstrap check
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

clean:  ## Remove what was built; the state directory stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
