# Every command that a person or CI runs. Without `just` on the machine, `./just` beside this file brings it.

set positional-arguments

root := justfile_directory()

# All recipes select millpond-deps as well, so that dependencies have the same features, and are compiled once, for all.
host := "-p millpond-cli -p millpond-deps"
target := join(root, env("CARGO_TARGET_DIR", "target"))
millpond := target / "debug/millpond"

# List the recipes
[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# Run a job: just run plugins/wordcount --set job.trigger=continuous
[group('jobs')]
[no-cd, no-exit-message]
run plugin *args: _host _guest
    @exec {{ quote(millpond) }} run "$@"

# Compile a plugin folder to a component
[group('jobs')]
[no-cd, no-exit-message]
build plugin *args: _host _guest
    @exec {{ quote(millpond) }} build "$@"

# Check a job without running it
[group('jobs')]
[no-cd, no-exit-message]
check job *args: _host _guest
    @exec {{ quote(millpond) }} check "$@"

# Show a job's plan: just plan plugins/wordcount --format mermaid
[group('jobs')]
[no-cd, no-exit-message]
plan job *args: _host _guest
    @exec {{ quote(millpond) }} plan "$@"

# Make a plugin folder: just new jobs/orders --template stateful
[group('jobs')]
[no-cd, no-exit-message]
new dir *args: _host
    @exec {{ quote(millpond) }} new "$@"

# Run a job's golden cases: just cases plugins/wordcount --bless
[group('jobs')]
[no-cd, no-exit-message]
cases job *args: _host _guest
    @exec {{ quote(millpond) }} test "$@"

# Build and run a job again whenever a file of it changes
[group('jobs')]
[no-cd, no-exit-message]
watch job *args: _host _guest
    @exec {{ quote(millpond) }} watch "$@"

# Any other millpond command: just millpond explain MP0103
[group('jobs')]
[no-cd, no-exit-message]
millpond *args: _host
    @exec {{ quote(millpond) }} "$@"

# The plugins have a target folder of their own: cargo gives the libraries of cdylib crates no hash in their names, so two
# workspaces that build the same plugin into one folder overwrite each other's.
# Run all tests: the host's with doctests, then the plugins' own, those of the bench included
[group('test')]
test: _guest
    cargo test --workspace
    cd plugins && CARGO_TARGET_DIR={{ quote(target / "plugins") }} cargo test --workspace
    cd tests/bench/jobs && CARGO_TARGET_DIR={{ quote(target / "plugins") }} cargo test --workspace

# Run the tests of one crate: just test-crate millpond-state
[group('test')]
test-crate name *args: _guest
    cargo test -p millpond-deps -p "$@"

# Measure Millpond beside hand-tuned native programs: just bench w1 w2 --repetitions 3; --list names the cases
[group('bench')]
[no-cd, no-exit-message]
bench *args: _guest
    @cargo build --release --manifest-path {{ quote(root / "Cargo.toml") }} -p millpond-bench {{ host }}
    @exec {{ quote(target / "release/bench") }} "$@"

# Format the code
[group('checks')]
fmt:
    cargo fmt --all
    cd plugins && cargo fmt --all
    cd tests/bench/jobs && cargo fmt --all

# Check the format
[group('checks')]
fmt-check:
    cargo fmt --all --check
    cd plugins && cargo fmt --all --check
    cd tests/bench/jobs && cargo fmt --all --check

# Rewrite the pages under docs/ that are made of the code: operators.md, error-codes.md
[group('checks')]
docs-bless:
    MILLPOND_BLESS=1 cargo test -p millpond-tests -p millpond-deps --test docs made_pages

# Lint, warnings denied
[group('checks')]
clippy:
    cargo clippy --workspace --all-targets -- -D warnings
    cd plugins && CARGO_TARGET_DIR={{ quote(target / "plugins") }} cargo clippy --workspace --all-targets -- -D warnings
    cd tests/bench/jobs && CARGO_TARGET_DIR={{ quote(target / "plugins") }} cargo clippy --workspace --all-targets -- -D warnings

# Build the documentation, warnings denied
[group('checks')]
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Check advisories, licences, bans and sources of the dependencies
[group('checks')]
deny:
    command -v cargo-deny target/tools/bin/cargo-deny >/dev/null || cargo install cargo-deny --locked --root target/tools
    PATH="$PATH:"{{ quote(root / "target/tools/bin") }} cargo deny check

# Everything that CI checks
[group('checks')]
ci: fmt-check clippy test doc deny

# Prepare this machine: Rust's WebAssembly target, or what takes its place
[group('setup')]
setup:
    @{{ quote(root / "just") }} --setup

# The millpond binary, up to date
_host:
    @cargo build {{ host }}

# What compiles plugins; no more than a look when it is there
_guest:
    @{{ quote(root / "just") }} --guest
