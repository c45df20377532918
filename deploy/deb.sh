#!/usr/bin/env bash
# Makes a Debian package of the release build: target/debian/quarry_VERSION_ARCHITECTURE.deb. Needs cargo-deb 3
# (cargo install cargo-deb --locked). What a shell and `man` know of the program comes from the program itself.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked --package node
rm -rf target/deb
mkdir -p target/deb
# The program calls itself as it is called.
ln -s ../release/node target/deb/quarry
target/deb/quarry man target/deb/man
target/deb/quarry completions bash >target/deb/quarry.bash
target/deb/quarry completions fish >target/deb/quarry.fish
target/deb/quarry completions zsh >target/deb/_quarry
cargo deb --no-build --locked --package node
