# Every verb a person needs. `make help` lists them.
#
# STACK=test uses the stack of the test suite; DUNLIN_PORT and DUNLIN_PG_PORT choose other ports.

SHELL := /bin/bash
PYTHON ?= python3
STACK ?= dev
CLOUD := $(PYTHON) infra/local/cloud.py
ARCH ?= x86_64

.DEFAULT_GOAL := help
.PHONY: help run prices up down reset status logs redrive test fuzz lint bench invoke package plan images engines

help: ## list these
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ## start the local cloud, scan the weak application and this repository, print what was found
	@$(CLOUD) run --stack $(STACK)

prices: ## start the local cloud, publish a million prices, ask for rates, have a batch with bad rows rejected
	@$(CLOUD) prices --stack $(STACK)

up: ## start the local cloud and bring it up to date; harmless when it runs
	@$(CLOUD) up --stack $(STACK)

down: ## stop the local cloud; its data stay
	@$(CLOUD) down --stack $(STACK)

reset: ## stop the local cloud and delete its data
	@$(CLOUD) reset --stack $(STACK)

status: ## what runs, and what it is doing
	@$(CLOUD) status --stack $(STACK)

logs: ## what functions and jobs said; FN=<function>, FN=jobs or FN=emulator for one of them
	@$(CLOUD) logs $(FN) --stack $(STACK)

redrive: ## put dead letters back on their queues
	@$(CLOUD) redrive --stack $(STACK)

test: ## every check and test, on a stack of their own
	@$(PYTHON) infra/local/suite.py test

fuzz: ## search for inputs that break a reader; TIME=<seconds> in all, TARGET=<name> for one of them
	@$(PYTHON) infra/local/fuzz.py "$(TIME)" "$(TARGET)"

lint: ## formatting, clippy, Terraform
	@$(PYTHON) infra/local/suite.py lint

bench: ## measure speed and memory beside the peers, refresh docs/performance.md; ONLY="coldstart aggregator" for some of it
	@$(PYTHON) benches/bench.py $(ONLY)

invoke: ## run one function on a sample event: FN=planner EVENT=small-python
	@test -n "$(FN)" -a -n "$(EVENT)" || { echo "usage: make invoke FN=<function> EVENT=<file in events/FN without .json>" >&2; exit 2; }
	@$(PYTHON) infra/local/invoke.py $(FN) $(EVENT) --stack $(STACK)

package: ## optimised functions for AWS: zips in target/lambda (ARCH=arm64 for Graviton), the programs of images in target/images
	@$(PYTHON) infra/local/package.py $(ARCH)

plan: ## what Terraform would make in AWS, tried against the local emulator
	@$(CLOUD) plan --stack $(STACK)

images: ## build the images of engines and of the loader (as root); ENGINES="a b" for some of them
	@$(PYTHON) infra/local/images.py $(ENGINES)

engines: ## install the scanner engines below .local/engines, and list them for Terraform; ENGINES="a b", INTO=<folder>
	@$(CLOUD) engines $(ENGINES) $(if $(INTO),--into $(INTO))
