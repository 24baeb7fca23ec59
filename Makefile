# The few commands a person needs. `make test` installs what the tests need and runs them all.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PACKAGES := conntrack nftables iproute2

.PHONY: run test deps lint rust python wheel docs dist stubs examples api screens metrics prometheus oldest-rust deny bench fuzz cases churn kernels parity bench-peers clean

## The main job, on a private kube-like table.
run:
	cargo run --release --example reconcile

## Everything: Rust, Python, examples, lints.
test: deps lint rust examples python

## Installs (as root, on Debian) the programs that the kernel tests call: conntrack, nft, ip.
deps:
	@missing=; for program in conntrack nft ip; do \
	    command -v $$program >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $(PACKAGES); \
	    else \
	        echo "the tests need the programs conntrack, nft and ip: install $(PACKAGES)" >&2; exit 1; \
	    fi; \
	fi

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p ctnetlink --locked -- -D warnings
	cargo check -p ctnetlink-kube --features k8s-openapi/v1_33 --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

rust:
	cargo test --locked

examples:
	cargo run --release --locked --example reconcile -- --entries 50000
	cargo run --release --locked --example plain_desired_state
	cargo run --release --locked --example published_ports

## The Python package, in a virtual environment of its own.
python: deps $(BIN)/python
	$(BIN)/pip install --quiet --upgrade "./python[test]"
	cd python && ../$(BIN)/ruff check . ../examples ../deploy && \
	    ../$(BIN)/ruff format --check . ../examples ../deploy
	cd python && ../$(BIN)/mypy
	cd python && PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT=1 ../$(BIN)/pyright --pythonpath ../$(BIN)/python \
	    ctnetlink tests
	cd python && ../$(BIN)/python -P -m mypy.stubtest ctnetlink --mypy-config-file pyproject.toml \
	    --allowlist stubtest.allow
	cd python && ../$(BIN)/python -P -m pytest -q

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

## The wheels and the source distribution, in target/wheels: for each target that this Rust has, with zig
## from PyPI as the linker. Tries the wheel of this machine in fresh environments, without privileges.
WHEEL ?=
wheel: $(BIN)/python
	$(BIN)/pip install --quiet 'maturin>=1.14,<2' ziglang 'auditwheel>=6' twine
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -P python/tools/wheels.py $(WHEEL)

## The command as one static binary, with manual pages and completions, in target/dist.
dist: $(BIN)/python
	$(BIN)/pip install --quiet ziglang cargo-zigbuild
	PATH=$(CURDIR)/$(BIN):$$PATH crates/ctnetlink-cli/dist

## The documentation of the crates, and the site of the Python package in target/python-docs.
docs: $(BIN)/python
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	$(BIN)/pip install --quiet 'mkdocs-material>=9.6' 'mkdocstrings-python>=2' ./python
	cd python && NO_MKDOCS_2_WARNING=1 ../$(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -P python/tools/check_reference.py

## Puts the documentation of the native module into its stub.
stubs:
	cd python && ../$(BIN)/python -P tools/stub_docs.py && ../$(BIN)/ruff format -q ctnetlink

## Records the public API of each crate in its api.txt. `make test` fails when it is out of date.
api:
	touch crates/ctnetlink/api.txt crates/ctnetlink-kube/api.txt crates/ctnetlink-metrics/api.txt \
	    crates/ctnetlink-cli/api.txt
	CTNETLINK_WRITE_API=1 cargo test --locked -p ctnetlink-tests --test repository -- api::

## Writes the screens of docs/runbook.md anew. A test compares them with what the commands print.
screens:
	CTNETLINK_WRITE_SCREENS=1 cargo test --locked -p ctnetlink-tests --test cli -- runbook::

## Writes docs/metrics.md from the tables of the metrics. A test compares.
metrics:
	CTNETLINK_WRITE_METRICS=1 cargo test --locked -q -p ctnetlink-metrics the_page

## The alert rules, the dashboard and the exporter, with a real Prometheus and node_exporter (Debian's,
## unpacked aside), in a network namespace of its own. Needs root.
prometheus: deps $(BIN)/python
	$(BIN)/pip install --quiet ./python grafana-foundation-sdk
	cargo build --locked -p ctnetlink-cli
	$(BIN)/python -P deploy/prometheus/try.py

## Checks the core crate with the oldest Rust that it promises (Debian 12's packages, unpacked aside).
oldest-rust:
	crates/testbed/oldest_rust

## Licences, sources and duplicates of the dependencies (deny.toml).
deny:
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	cargo deny --locked check licenses bans sources

## Figures, as ratios within one run. See benches/.
bench:
	cargo bench --locked --bench parse --bench dump
	cargo bench --locked --bench filter -- --entries 200000

## Runs each fuzz target for FUZZ_SECONDS with the installed toolchain. It uses no sanitizer, so
## nightly is not needed.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := dump event error filter request
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	cd crates/ctnetlink && cargo fuzz build -s none
	cd crates/ctnetlink && for target in $(FUZZ_TARGETS); do \
	    mkdir -p fuzz/corpus/$$target; \
	    cargo fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 2>&1 \
	        | tee fuzz/target/$$target.log | grep -E 'number_of_executed_units|panicked|ERROR|SUMMARY' \
	        && ! grep -qE 'panicked|ERROR|deadly' fuzz/target/$$target.log || exit 1; \
	done

## Compares CASES random filters over random tables with a naive implementation.
CASES ?= 2000
cases:
	CTNETLINK_CASES=$(CASES) cargo test --locked -p ctnetlink-tests --test kernel -- --nocapture \
	    filter::a_random_expression_means_the_same_to_everyone

## Reconciles for CHURN_SECONDS while other threads create and destroy entries, and audits deletes.
CHURN_SECONDS ?= 60
churn:
	CTNETLINK_CHURN_SECONDS=$(CHURN_SECONDS) cargo test --locked -p ctnetlink-tests --test kernel -- \
	    --nocapture churn::

## The filter and delete tests and the demo on Linux 6.1 and 6.12, in QEMU without KVM. Installs
## qemu-system-x86, busybox-static and cpio (as root, on Debian) and downloads two kernel packages.
kernels:
	crates/testbed/kernels/run

## Compares our rule for kube-proxy with its own code in three versions, on the same tables.
## Needs Go, which downloads k8s.io/kubernetes.
CASES_PARITY ?= 500
parity:
	benches/peers/kube-proxy/build
	cargo bench --locked --bench parity -- --cases $(CASES_PARITY)

## Compares the reconciler with a bare loop, kube-proxy's own code, the netlink library below it and
## `conntrack -D`, at three sizes. Needs root (it raises nf_conntrack_max and restores it), Go and
## strace, 6 GB of memory, and half an hour. Rewrites the picture; see benches/RESULTS.md.
BENCH_PEERS ?= --entries 100000,1000000,4000000 --raise-limit --svg $(CURDIR)/benches/reconcile.svg
bench-peers:
	@command -v strace >/dev/null || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y strace; \
	    else \
	        echo "bench-peers counts system calls with strace: install it" >&2; exit 1; \
	    fi; \
	}
	benches/peers/kube-proxy/build
	cargo bench --locked --bench reconcile -- $(BENCH_PEERS)

clean:
	cargo clean
	rm -rf $(VENV)
