# make run    builds and starts a node on its defaults: 127.0.0.1:8080, no Redis needed
# make test   installs what the tests need and runs them all
# make check  the fast loop: format, lints, documentation of the source, unit tests

.PHONY: run check lint doc unit check-macos test docs bench chaos random client-chaos runs-chaos mqtt-chaos events-chaos rolling abuse fuzz deny autobahn load release release-check setup clean
.DEFAULT_GOAL := check

export K6_NO_USAGE_REPORT = true

run:
	web/demo/yjs/build.sh
	cargo run --release

check: lint doc unit

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Into target/doc, private items too; a broken link is an error.
doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --lib --no-deps --document-private-items

unit:
	cargo test --workspace --lib --test architecture --test docs --test properties

# Type-checks for macOS on any machine; needs `rustup target add aarch64-apple-darwin`.
check-macos:
	tests/macos.sh

setup:
	tests/setup.sh

# Real nodes and a real Redis throughout. The suites print what was skipped, and why, and tests/all.sh what each took.
test:
	tests/all.sh

# Everything breaks while everybody talks: no gap without a gap message. All faults take about a quarter of
# an hour; `CHAOS=short` a minute and a half, `FAULT=name` runs one, `SEED=number` repeats a run.
chaos: setup
	CHAOS=$(or $(CHAOS),long) cargo test --test chaos

# Every operation of clients, publishers and operators mixed with every fault, drawn from seeds, and the clients'
# journals audited: about half an hour. `SEED=number SEEDS=1` tries one again, `SHRINK=1` narrows a finding down.
random: setup
	SEEDS=$(or $(SEEDS),300) PARALLEL=$(or $(PARALLEL),2) cargo test --test random_operations

# The client in random faults of its network, of two nodes and of Redis, drawn from seeds, by each transport; then an audit of what it
# received and published: about half an hour. `SEED=number SEEDS=1 TRANSPORT=name` repeats a run; `make test` has a short form.
client-chaos: setup
	cargo build
	SEEDS=$(or $(SEEDS),200) PARALLEL=$(or $(PARALLEL),4) node tests/browser/chaos/main.mjs

# Workers publish runs and a hundred viewers follow them by every transport on three nodes, while viewers reload and workers, nodes and
# Redis are killed, drawn from seeds; then an audit of what each viewer got, to the byte: about half an hour. `SEED=number SEEDS=1` repeats
# a seed; `make test` has a few.
runs-chaos: setup
	cargo build
	SEEDS=$(or $(SEEDS),200) PARALLEL=$(or $(PARALLEL),4) node tests/runs_chaos/main.mjs

# MQTT and STOMP clients publish and subscribe on two nodes beside json clients, streams and services, while nodes and Redis are killed and
# hostile clients attack, drawn from seeds; then an audit of what was acknowledged and received: about a quarter of an hour. `SEED=number SEEDS=1`
# repeats a seed; `make test` has a few.
mqtt-chaos: setup
	cargo build
	SEEDS=$(or $(SEEDS),100) PARALLEL=$(or $(PARALLEL),2) node tests/mqtt_chaos/main.mjs

# Random clients on three nodes that are killed, frozen and stopped, drawn from seeds: the events for the backend alternate and agree with
# the nodes. About eight minutes; `SEED=number SEEDS=1` repeats a run, and `make test` has two.
events-chaos: setup
	SEEDS=$(or $(SEEDS),100) cargo test --test behaviour -- events::seeded --nocapture

# Three nodes behind HAProxy are restarted one after the other under 3,000 clients, and nobody notices: about
# two minutes. `ROLLING=short`, as in `make test`, has 300 clients and takes twenty seconds.
rolling: setup
	ROLLING=$(or $(ROLLING),long) cargo test --test rolling

# Clients that mean harm, thousands of them: whoever behaves is served meanwhile, and memory comes back. About
# ten minutes; `make test` runs a short form.
abuse: setup
	ABUSE=long cargo test --release --test abuse -- --nocapture

# Writes the references that are made from the code.
docs:
	UPDATE_DOCS=1 cargo test --test docs

# The measurements of docs/operating/sizing.md, as ratios, a hundred thousand channels subscribed again, and
# what a token check costs; about six minutes on two cores.
bench: setup
	cargo bench --bench gateway
	cargo test --release --test behaviour -- --ignored --nocapture hundred_thousand
	cargo test --release --lib -- --ignored --nocapture verifying_a_token
	cargo test --release --lib -- --ignored --nocapture matching_a_publication

# Whatever bytes come from clients and Redis: ten million runs a target, one target after another, about half an
# hour. `FUZZ_SECONDS=60` bounds each target's time, `FUZZ_RUNS=number` its runs; `make check` runs a short form.
fuzz:
	fuzz/run.sh

# Licences, doubled crates, sources and known vulnerabilities of all dependencies. The last needs the network:
# `DENY="licenses bans sources"` leaves it out.
deny:
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny check $(or $(DENY),advisories licenses bans sources)

# The whole Autobahn suite but compression; `make test` runs a short form.
autobahn: setup
	cargo build
	tests/autobahn/run.sh target/debug/tidegate

# The load tests, a few seconds each, with nodes that are restarted meanwhile and gateways with a fault; `make test` has it in.
load: setup
	cargo build
	tests/load.sh

# A tarball with a static binary, the container image and their checksums, of the last commit, in target/dist: about a quarter of an
# hour where nothing is compiled yet. docs/RELEASING.md describes the rest of a release.
release:
	deploy/release/build.sh

# Builds a release with unoptimized binaries and tries it; `RELEASE=target/dist` tries what `make release` built.
release-check:
	tests/release.sh

clean:
	cargo clean
