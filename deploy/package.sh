#!/usr/bin/env bash
# Packs the program and its systemd unit as they lie on a machine, for quarry.yaml. Equal contents make equal bytes.
# usage: deploy/package.sh [PROGRAM [PACKAGE]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../target/release/node}
package=${2:-$here/../target/quarry.tar.gz}
[ -x "$program" ] || { echo "$program is no program: build it with cargo build --release" >&2; exit 2; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -D -m 0755 "$program" "$root/usr/bin/quarry"
install -D -m 0644 "$here/quarry@.service" "$root/etc/systemd/system/quarry@.service"
install -D -m 0644 "$here/gpu.conf" "$root/usr/share/quarry/gpu.conf"
# Without an entry for the directories, so that unpacking changes none that exists.
(cd "$root" && find . -type f -printf '%P\n' | LC_ALL=C sort |
  tar --create --files-from=- --owner=0 --group=0 --numeric-owner --mtime=@0) | gzip -n >"$package"
sha256sum "$package"
