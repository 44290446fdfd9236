# `make help` lists the targets. The work is done by scripts in packaging/, which also run on their own.

PYTHON_IN_VENV := .venv/bin/python

.PHONY: help venv test demo deb lock lint soak bench clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

venv: ## .venv with the locked requirements, secretsd, secretsd-signer and secretsctl
	@packaging/dev/venv

test: ## every test, after installing what they need (ARGS= goes to pytest)
	@packaging/dev/run-tests $(ARGS)

demo: venv ## the main job before your eyes, with a local AWS, in under a minute
	@packaging/dev/test-packages
	@$(PYTHON_IN_VENV) -m tests.demo

deb: ## build/secretsd_VERSION_ARCH.deb
	@packaging/dev/apt-missing binutils debhelper dpkg-dev fakeroot
	@packaging/build-deb

lock: ## the hashed requirement files from the .in files (ARGS=--upgrade takes newer versions)
	@packaging/requirements/lock $(ARGS)

lint: venv ## ruff, mypy --strict, shellcheck
	@$(PYTHON_IN_VENV) -m ruff check .
	@$(PYTHON_IN_VENV) -m ruff format --check .
	@$(PYTHON_IN_VENV) -m mypy
	@packaging/dev/apt-missing shellcheck
	@packaging/dev/shell-scripts | xargs shellcheck

soak: venv ## the fault, crash and attack tests in full, of which `make test` runs samples
	@packaging/dev/test-packages
	@SECRETSD_SOAK=1 $(PYTHON_IN_VENV) -m pytest --durations=0 --durations-min=10 \
		$$(grep -rl --include='test_*.py' SECRETSD_SOAK tests) $(ARGS)

bench: venv ## the figures of docs/benchmarks.md
	@packaging/dev/test-packages
	@$(PYTHON_IN_VENV) -m tests.bench $(ARGS)

clean: ## what the targets made, but for .venv
	rm -rf build dist secretsd.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find secretsd tests packaging -name __pycache__ -type d -prune -exec rm -rf {} +
