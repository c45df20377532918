#!/usr/bin/env python3
"""Puts one bug at a time into a copy of the core and counts the seeds that the simulator needs to see it.

    node/sim/mutations/run.py [NAME...]

Copies go to target/mutations; the tree itself is never touched. For each bug, runs begin at several seeds; the table
on standard output names the checker that saw it first and the median of the seeds it took, and the exit status is 1 if
one was not seen. The log on standard error says what was seen in words.
"""
import collections
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORK = ROOT / "target" / "mutations"
STARTS = [100_000, 200_000, 300_000, 400_000, 500_000]
SEEDS_MAX = 400
CARGO = ["cargo", "build", "--release", "--quiet", "--offline", "-p", "quarry-sim",
         "--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"]


def copy_tree():
    WORK.mkdir(parents=True, exist_ok=True)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"members = \[.*\]", 'members = ["node/core", "node/sim"]', manifest, count=1)
    manifest = re.sub(r"default-members = .*\n", "", manifest)
    # The profiles of packages that are not in the copy would be warned about.
    manifest = re.sub(r"\[profile\.dev\.package[^\[]*", "", manifest)
    (WORK / "Cargo.toml").write_text(manifest)
    shutil.copy(ROOT / "Cargo.lock", WORK)
    for crate in ["node/core", "node/sim"]:
        shutil.copytree(ROOT / crate, WORK / crate, dirs_exist_ok=True)


def mutate(mutation):
    path = WORK / "node/core/src" / mutation["file"]
    text = path.read_text()
    if text.count(mutation["old"]) != 1:
        sys.exit(f"{mutation['name']}: {mutation['file']} holds {text.count(mutation['old'])} times: {mutation['old']}")
    path.write_text(text.replace(mutation["old"], mutation["new"]))


def seeds_to_detect(start):
    program = WORK / "target/release/quarry-sim"
    # A bug may make a run endless: that is seen, too.
    try:
        run = subprocess.run([program, str(start), str(SEEDS_MAX), "--first"], capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return SEEDS_MAX, "(endless)", "no end within 600 s"
    seen = re.search(r"^seed (\d+) failed: (\w+): (.*)$", run.stderr, re.MULTILINE)
    return (int(seen[1]) - start + 1, seen[2], seen[3]) if seen else (None, None, None)


def main():
    with open(pathlib.Path(__file__).with_name("mutations.toml"), "rb") as file:
        mutations = tomllib.load(file)["mutation"]
    wanted = sys.argv[1:]
    missed = False
    print("| bug | seen by | median seeds | of starts |", "|---|---|---|---|", sep="\n", flush=True)
    for mutation in mutations:
        if wanted and mutation["name"] not in wanted:
            continue
        copy_tree()
        mutate(mutation)
        built = subprocess.run(CARGO, cwd=WORK, capture_output=True, text=True)
        if built.returncode != 0:
            sys.exit(f"{mutation['name']}: {built.stderr}")
        counts, checkers = [], collections.Counter()
        for start in STARTS:
            count, checker, text = seeds_to_detect(start)
            print(f"{mutation['name']}: {count} {checker}: {text}", file=sys.stderr, flush=True)
            if count:
                counts.append(count)
                checkers[checker] += 1
        missed |= not counts
        median = f"{statistics.median(counts):g}" if counts else "not seen"
        who = ", ".join(name for name, _ in checkers.most_common())
        print(f"| {mutation['name']}: {mutation['story']} | {who} | {median} | {len(counts)}/{len(STARTS)} |", flush=True)
    sys.exit(1 if missed else 0)


main()
