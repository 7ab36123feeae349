# make demo   the whole product on this machine: a VM boots from one user-data and works; DOWN=1 cleans up
# make test   every test, on real engines, with a VM; CI runs this
# make torture   the logs duty under torture for MINUTES=10, seed after seed; SEED= begins with that one
# make bench     what it costs, beside the programs that it replaces; SIZE_MB=700 for a full run
# All install the Debian packages that they need (tests/setup.sh), on Debian 12 with Rust.

PROFILE ?= release
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest)

# Containers, loop-free disk images with their owners, VMs' network: all of it takes root. Said before an hour of building.
ifneq ($(filter demo test torture image,$(or $(MAKECMDGOALS),demo)),)
ifneq ($(shell id -u),0)
$(error run this as root with cargo on the PATH, such as: sudo env "PATH=$$PATH" "HOME=$$HOME" make $(MAKECMDGOALS))
endif
endif

.PHONY: demo test torture bench fuzz lint deny deb image build setup

ifdef DOWN
demo: build
	target/release/demo --down
else
demo: image
	target/release/demo
endif

# The engine stays up for all tests; the runner's closing lines are the last ones.
test: image
ifeq ($(NEXTEST),nextest)
	target/release/with-engines cargo nextest run --release --workspace
else
	target/release/with-engines cargo test --release --workspace
endif

# Each target for a minute, with what earlier runs found; it takes cargo-fuzz.
FUZZ_SECONDS ?= 60
fuzz:
	cd fuzz && for target in $$(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

torture: build
	TORTURE_MINUTES=$(or $(MINUTES),10) $(if $(SEED),TORTURE_SEED=$(SEED)) \
		cargo test --release --package hostwright-tests --test logs_torture -- --nocapture

bench: build
	target/release/bench

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

deny:
	cargo deny check bans licenses sources

setup:
	tests/setup.sh

build: setup
	cargo build --release --workspace

deb: setup
	packaging/build-deb $(PROFILE)

image: build
	packaging/build-image --deb "$$(packaging/build-deb --no-build)"
