#!/usr/bin/env bash
# Installs what building and testing need, where it is missing: Debian packages, and Python programs under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v sha256sum >/dev/null || packages+=(coreutils)
# The GPU backend is tested on Mesa's software adapter. Not every ldconfig is on every user's path.
{ PATH=$PATH:/sbin:/usr/sbin ldconfig -p || true; } | grep -F libvulkan.so.1 >/dev/null || packages+=(libvulkan1)
compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || packages+=(mesa-vulkan-drivers)
# The tests of deploy/ are in Python, and ask systemd what it thinks of the unit.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
command -v systemd-analyze >/dev/null || packages+=(systemd)
# The web pages are tested in a real browser, and the metrics by what Prometheus thinks of them.
command -v chromium >/dev/null || packages+=(chromium fonts-dejavu-core)
command -v promtool >/dev/null || packages+=(prometheus)

if [ ${#packages[@]} -gt 0 ]; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

# The transport over SQS is tested against an emulator, which the tests start themselves.
wanted="ministack==1.5.33
$(cat deploy/tests/requirements.txt)"
stamp=target/python/installed
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv target/python
    target/python/bin/pip install --quiet --disable-pip-version-check --requirement <(echo "$wanted")
    echo "$wanted" >"$stamp"
fi
