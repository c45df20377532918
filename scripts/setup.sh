#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, where they are missing.
set -euo pipefail

packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v sha256sum >/dev/null || packages+=(coreutils)
# The GPU backend is tested on Mesa's software adapter. Not every ldconfig is on every user's path.
{ PATH=$PATH:/sbin:/usr/sbin ldconfig -p || true; } | grep -F libvulkan.so.1 >/dev/null || packages+=(libvulkan1)
compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || packages+=(mesa-vulkan-drivers)
[ ${#packages[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
