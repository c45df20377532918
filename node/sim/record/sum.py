#!/usr/bin/env python3
"""Adds up what runs of quarry-sim have printed: `sum.py FILE...` prints one summary in the same form."""
import re
import sys

sums, seeds, kept, seconds, cpu, settled, failures = {}, 0, 0, 0.0, 0.0, [], []
for name in sys.argv[1:]:
    heading = ""
    for line in open(name).read().splitlines():
        if counted := re.fullmatch(r"( *)(\S.*?) +(\d+)", line):
            key = (heading if counted[1] else "", counted[2])
            sums[key] = sums.get(key, 0) + int(counted[3])
        elif run := re.fullmatch(r"(\d+) of (\d+) seeds from .* kept every rule", line):
            kept, seeds = kept + int(run[1]), seeds + int(run[2])
        elif time := re.match(r"([\d.]+) s, ([\d.]+) s of processor time", line):
            seconds, cpu = seconds + float(time[1]), cpu + float(time[2])
        elif within := re.fullmatch(r"settled within +(\d+) s, (\d+) s at most", line):
            settled.append((int(within[1]), int(within[2])))
        elif line.startswith("seed "):
            failures.append(line)
        elif line and line[0] != " ":
            heading = line
heading = ""
for (part, key), count in sums.items():
    if part != heading:
        heading = part
        print(part)
    print(f"{'  ' if part else ''}{key:<38}{count:>14}")
if settled:
    print(f"settled within: means of {min(it[0] for it in settled)} to {max(it[0] for it in settled)} s,"
          f" {max(it[1] for it in settled)} s at most")
print(f"{kept} of {seeds} seeds kept every rule")
print(f"{seconds:.0f} s, {cpu:.0f} s of processor time, {1000 * cpu / max(seeds, 1):.0f} ms of it a seed")
print(*failures, sep="\n")
