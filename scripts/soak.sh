#!/usr/bin/env bash
# Runs everything that takes fresh random choices, in turn, until the time is over, and sums up: networks in the simulator,
# kills of the real program, power cuts of the store, and fuzzed inputs. Fails if anything did.
# usage: scripts/soak.sh MINUTES [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=$1
seed=${2:-$(date +%s)000}
# A turn of each part takes about as long; at least three turns of each, and none longer than five minutes.
turn=$((minutes * 60 / 12))
turn=$((turn < 5 ? 5 : turn > 300 ? 300 : turn))
logs=target/soak
rm -rf "$logs"
mkdir -p "$logs"
rounds=0
failures=()

cargo build --release --locked -p quarry-sim -p quarry-fuzz -p node
cargo test --release --locked -p node --test it --no-run
end=$(($(date +%s) + minutes * 60))

# run NAME ENVIRONMENT... -- COMMAND...: notes a failure with what repeats it.
run() {
    local name=$1 settings=()
    shift
    while [ "$1" != -- ]; do settings+=("$1"); shift; done
    shift
    if ! env "${settings[@]}" "$@" >>"$logs/$name.log" 2>&1; then
        failures+=("$name: ${settings[*]} $*")
        echo "failed: ${failures[-1]} (see $logs/$name.log)"
    fi
}
tests=(cargo test --release --locked -q -p node --test it)

until [ $rounds -gt 0 ] && [ "$(date +%s)" -ge "$end" ]; do
    run simulator -- target/release/quarry-sim "$seed" 1000000000 --jobs "$(nproc)" --within "$turn"
    run kills QUARRY_SEED="$seed" QUARRY_KILLS=$((turn + 10)) -- "${tests[@]}" killed_nodes -- --nocapture
    run images QUARRY_SEED="$seed" QUARRY_IMAGES=$((turn * 500)) -- \
        "${tests[@]}" what_was_applied_survives_a_power -- --nocapture
    run fuzz -- target/release/quarry-fuzz --seed "$seed" --seconds $((turn / 16 + 1))
    rounds=$((rounds + 1))
    seed=$((seed + 1000000))
done

cat <<SUMMARY
$rounds rounds in $minutes minutes; logs in $logs
  simulator  $(awk '/ seeds from / { kept += $1; all += $3 }
    END { print kept + 0, "of", all + 0, "networks kept every rule" }' "$logs/simulator.log")
  kills      $(awk '/Tally/ { match($0, /kills: [0-9]+/); kills = substr($0, RSTART + 7, RLENGTH - 7) }
    /^test result/ { sum += kills; kills = 0 } END { print sum + 0, "of the program" }' "$logs/kills.log")
  images     $(awk -F '|' '/^\| (commit|recovery) / { sum += $4; bad += $6 }
    END { print sum + 0 ", " bad + 0, "bad" }' "$logs/images.log")
  fuzz       $(awk -F '|' '$3 + 0 > 0 { sum += $3 } END { print sum + 0, "inputs" }' "$logs/fuzz.log")
  failures   ${#failures[@]}
SUMMARY
for failure in "${failures[@]}"; do echo "    $failure"; done
[ ${#failures[@]} -eq 0 ]
