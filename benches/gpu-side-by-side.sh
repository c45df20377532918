#!/usr/bin/env bash
# One table on a machine with an NVIDIA card: our GPU backend, each of its variants, the same algebra in native CUDA,
# and hashcat -m 1400. The machine needs a driver, nvcc and no network.
#
#   here:   gpu-side-by-side.sh pack DIR     builds gpu_table and fills DIR with it, the yardstick, the Vulkan loader and
#                                            a cut-down hashcat as Debian packages them (needs cargo and apt)
#   there:  DIR/gpu-side-by-side.sh run DIR  prints the table; logs go to $OUT, or $TMPDIR/gpu-side-by-side
#
# DEVICE names the card as `--device` does (default NVIDIA), SECONDS_PER_ROW says how long a row takes (default 3).
# The yardstick's first row is measured again at its end, which shows how much the card drifts meanwhile. Its GH/s and
# the column "by card" are by the card's clock, the other GH/s by the one on the wall. Meant for machines with one card:
# of several, CUDA_VISIBLE_DEVICES chooses the yardstick's and hashcat's, DEVICE ours.
# Clocks, power limits and modes of the card are left as they are.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

pack() {
  mkdir -p "$1/loader" "$1/hashcat/modules" "$1/hashcat/so"
  local dir unpacked
  dir=$(cd "$1" && pwd)
  unpacked=$(mktemp -d)
  (cd "$here/.." && cargo build --release --locked -p miner --example gpu_table)
  cp "$here/../target/release/examples/gpu_table" "$here/cuda/yardstick.cu" "${BASH_SOURCE[0]}" "$dir/"
  (cd "$dir/loader" && apt-get -q download libvulkan1 libegl1 libglvnd0 libgl1 libglx0 libxext6 libx11-6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0)
  (cd "$unpacked" && apt-get -q download hashcat hashcat-data libminizip1 libxxhash0)
  for package in "$unpacked"/*.deb; do dpkg -x "$package" "$unpacked/all"; done
  # One mode of hundreds is wanted. Started from its own folder, it looks for everything there.
  cp "$unpacked/all/usr/bin/hashcat" "$dir/hashcat/"
  cp "$unpacked"/all/usr/lib/hashcat/modules/module_{00000,01400}.so "$dir/hashcat/modules/"
  cp -r "$unpacked"/all/usr/share/hashcat/{OpenCL,tunings,hashcat.hcstat2} "$dir/hashcat/"
  find "$dir/hashcat/OpenCL" -name 'm[0-9]*' ! -name 'm00000*' ! -name 'm0[01]400*' -delete
  cp -L "$unpacked"/all/usr/lib/*/libminizip.so.1 "$unpacked"/all/usr/lib/*/libxxhash.so.0 "$dir/hashcat/so/"
  rm -r "$unpacked"
  du -sh "$dir"
}

# Lets programs find the card's Vulkan driver where the machine has no loader, or no manifest in the usual places.
find_vulkan() {
  local dir=$1 unpacked manifest
  if ! ldconfig -p | grep -F libvulkan.so.1 >/dev/null; then
    unpacked=$OUT/loader
    for package in "$dir"/loader/*.deb; do dpkg -x "$package" "$unpacked"; done
    LD_LIBRARY_PATH=$(dirname "$(find "$unpacked" -name libvulkan.so.1 -print -quit)"):${LD_LIBRARY_PATH:-}
    export LD_LIBRARY_PATH
  fi
  manifest=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
  if [ -e "$manifest" ] && ! compgen -G '/usr/share/vulkan/icd.d/*nvidia*' >/dev/null && ! compgen -G '/etc/vulkan/icd.d/*nvidia*' >/dev/null; then
    export VK_DRIVER_FILES=$manifest
  fi
}

# The last rate that a log tells, in GH/s; with a second argument, the last that is followed by it.
rate() {
  { grep -oE "[0-9.]+ *[kMG]?H/s${2:-}" "$1" || true; } | tail -1 | sed "s/${2:-$}//" | awk '{
    unit = $0; gsub(/[0-9. ]/, "", unit); value = $0 + 0
    scale["H/s"] = 1e-9; scale["kH/s"] = 1e-6; scale["MH/s"] = 1e-3; scale["GH/s"] = 1
    printf "%.3f", value * scale[unit] }'
}

rows=()

# measure NAME COMMAND...: runs it, and adds a row with its rate and what the card's clock and power were meanwhile.
measure() {
  local name=$1 log samples sampler='' status=0 busy='- - -'
  shift
  log=$OUT/${name//[^A-Za-z0-9=]/-}.log
  samples=$log.samples
  echo "-- $name: $*"
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=clocks.sm,power.draw,temperature.gpu,utilization.gpu --format=csv,noheader,nounits -lms 100 >"$samples" 2>&1 &
    sampler=$!
  fi
  timeout 180 "$@" >"$log" 2>&1 || status=$?
  if [ -n "$sampler" ]; then
    kill "$sampler" && wait "$sampler" || true
    # Idle samples, as while a shader compiles, tell nothing.
    busy=$(awk -F', *' '90 < $4 { n++; clock += $1; power += $2; if (hot < $3) hot = $3 }
      END { if (n) printf "%.0f %.0f %.0f", clock / n, power / n, hot; else print "- - -" }' "$samples")
  fi
  [ "$status" -eq 0 ] || tail -3 "$log" | sed 's/^/   /'
  rows+=("$name|$(rate "$log")|$(rate "$log" ' by its clock')|$busy|$status")
}

hashcat_row() {
  local dir=$1 library
  library=$(find /usr/local/cuda* /usr/lib /opt -name 'libnvrtc.so*' ! -name '*alt*' -print -quit 2>/dev/null || true)
  if [ ! -x "$dir/hashcat/hashcat" ] || [ -z "$library" ]; then
    echo "-- hashcat: not packed, or no libnvrtc on this machine"
    return
  fi
  mkdir -p "$OUT/home" "$OUT/nvrtc"
  # It opens the name without a version.
  ln -sf "$library" "$OUT/nvrtc/libnvrtc.so"
  measure "hashcat -m 1400" env HOME="$OUT/home" XDG_DATA_HOME="$OUT/home" XDG_CACHE_HOME="$OUT/home" \
    LD_LIBRARY_PATH="$OUT/nvrtc:$(dirname "$(realpath "$library")"):$dir/hashcat/so:${LD_LIBRARY_PATH:-}" \
    "$dir/hashcat/hashcat" -b -m 1400 --backend-ignore-opencl --force --hwmon-disable
}

print_table() {
  local sms=$1 row name rate by_card busy status clock power heat cycles
  printf '%-26s %9s %9s %8s %6s %5s %12s %7s\n' row GH/s 'by card' 'SM MHz' W C cycles/hash status
  for row in "${rows[@]}"; do
    IFS='|' read -r name rate by_card busy status <<<"$row"
    read -r clock power heat <<<"$busy"
    # Of one SM: free of the card's size and clock.
    cycles=$(awk -v rate="$rate" -v clock="$clock" -v sms="$sms" \
      'BEGIN { if (0 < rate && 0 < clock && 0 < sms) printf "%.2f", sms * clock / rate / 1e3; else print "-" }')
    printf '%-26s %9s %9s %8s %6s %5s %12s %7s\n' "$name" "${rate:--}" "${by_card:--}" "$clock" "$power" "$heat" "$cycles" "$status"
  done
}

run() {
  local dir native sms products midstates seconds=${SECONDS_PER_ROW:-3} device=${DEVICE:-NVIDIA}
  dir=$(cd "$1" && pwd)
  OUT=${OUT:-${TMPDIR:-/tmp}/gpu-side-by-side}
  mkdir -p "$OUT"
  { uname -a; nvidia-smi; nvidia-smi -q -d CLOCK,POWER; nvcc --version; } >"$OUT/machine.log" 2>&1 || true
  find_vulkan "$dir"
  native=$OUT/yardstick
  if ! nvcc -O3 -std=c++17 -arch=native -o "$native" "$dir/yardstick.cu" >"$OUT/nvcc.log" 2>&1; then
    echo "-- yardstick: nvcc fails"
    tail -3 "$OUT/nvcc.log"
    native=''
  fi
  for midstates in 1 2 4; do
    for products in 0 1 2; do
      [ -z "$native" ] || measure "cuda M=$midstates products=$products" "$native" "$seconds" "$midstates" "$products"
      measure "wgsl M=$midstates products=$products" "$dir/gpu_table" "$device" "$seconds" "$midstates" "$products"
    done
  done
  [ -z "$native" ] || measure "cuda M=1 products=0 again" "$native" "$seconds" 1 0
  measure "our backend" "$dir/gpu_table" "$device" "$seconds" best
  hashcat_row "$dir"
  sms=$({ grep -hoE '[0-9]+ SMs' "$OUT"/cuda-*.log || true; } | head -1 | cut -d' ' -f1)
  print_table "${sms:-0}" | tee "$OUT/table.txt"
  echo
  grep -h '^gpu (' "$OUT"/our-backend*.log || true
}

case ${1:-} in
  pack) pack "${2:?a folder}" ;;
  run) run "${2:?a folder}" ;;
  *) sed -n '2,16p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
