# Each target does the set-up that it needs (scripts/setup.sh), so any of them may be the first command after a clone.
# A Rust toolchain is all they ask for. Without a target, make lists them: nothing is installed unasked.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help demo serve test test-python test-long bench wheel lint setup clean

# rustup puts cargo there; a shell older than the installation does not know yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

SETUP := bash scripts/setup.sh
# Puts vspipe on PATH and tells the library where VSScript is.
ENTER := source .venv/env.sh

# Everything at once: building with different features would build the dependencies twice.
FEATURES := finalrip-core/ledger-kit

# Into an environment that holds nothing of this repository.
INSTALL_WHEEL := .tools/pytest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall
# A wheel of a development build, repaired like the real one.
define PYTEST
bash scripts/wheel.sh dev target/wheels/dev
$(INSTALL_WHEEL) target/wheels/dev/*.whl
cd finalrip-py && ../.tools/pytest/bin/python -m pytest
endef

DEMO_SOURCE := examples/media/big_buck_bunny_720p.mp4
DEMO_OUTPUT := target/demo/demo.mkv
# x265's own words would be written across the progress bars.
DEMO_PARAM := ffmpeg -i - -c:v libx265 -preset ultrafast -crf 20 -x265-params log-level=none

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## rip a clip of Big Buck Bunny, denoised and resized to 1080p, in chunks
	@$(SETUP) run
	$(ENTER)
	mkdir -p $(dir $(DEMO_OUTPUT))
	cargo run --release --locked --example rip -- \
	  examples/rip.vpy $(DEMO_OUTPUT) --source $(DEMO_SOURCE) --param "$(DEMO_PARAM)" --workers 2
	echo "The result is $(CURDIR)/$(DEMO_OUTPUT)"

test: ## run every test but the long ones, documentation's examples included
	@$(SETUP) test
	$(ENTER)
	cargo test --workspace --locked --no-fail-fast --features $(FEATURES)
	$(PYTEST)

test-python: ## run the tests of the Python package alone: pytest on a wheel, in an environment of its own
	@$(SETUP) test
	$(ENTER)
	cargo test --workspace --locked --features $(FEATURES) --no-run
	$(PYTEST)

wheel: ## build a manylinux wheel of the Python package, with a libav of its own (built once) inside, in target/wheels
	@$(SETUP) wheel
	bash scripts/wheel.sh release target/wheels

serve: ## start the server on 127.0.0.1:8848, with its data in ./finalrip-data (SERVE="--workers 2" for flags)
	@$(SETUP) run
	$(ENTER)
	cargo run --release --locked -p finalrip-server -- serve $(SERVE)

# --tests: without it cargo would also run the documentation examples that are marked as not to be compiled.
test-long: ## run the tests that take minutes, and those against Garage and in a browser (builds Garage once)
	@$(SETUP) test-long
	$(ENTER)
	cargo test --workspace --locked --features $(FEATURES) --tests -- --ignored

bench: ## measure: frames handed over a second, an encode against the pipe, a rip against chains of commands, the server under load
	@$(SETUP) test
	$(SETUP) wheel
	$(ENTER)
	cargo bench --locked --workspace --bench handover --bench pipe --bench rip --bench server
	cargo build --release --locked --example encode
	bash scripts/wheel.sh release target/wheels
	$(INSTALL_WHEEL) target/wheels/*.whl
	.tools/pytest/bin/python finalrip-py/benches/live.py --encode target/release/examples/encode

lint: ## check formatting, clippy, documentation and shell scripts
	@$(SETUP) lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --features $(FEATURES) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi

setup: ## only install what the other targets need
	@$(SETUP) test

clean: ## delete what was built and what set-up put into this folder
	rm -rf target .venv .tools
