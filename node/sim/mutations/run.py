#!/usr/bin/env python3
"""Puts one bug at a time into a copy of the core and counts the seeds that the simulator needs to see it.

    node/sim/mutations/run.py [NAME...]

The copy in target/mutations is of the last commit; the tree itself is neither read nor touched. For each bug, runs
begin at several seeds, with the settings that the bug's entry names, if any. The table on standard output names the
checker that saw it first and the median of the seeds it took; the log on standard error says what was seen in words.
The exit status is 1 if a bug was not seen, or could not be put in or built; those after it are run all the same.
"""
import collections
import io
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORK = ROOT / "target" / "mutations"
STARTS = [100_000, 200_000, 300_000]
SEEDS_MAX = 200
CARGO = ["cargo", "build", "--release", "--quiet", "--offline", "-p", "quarry-sim",
         "--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16",
         "--config", "profile.release.incremental=true", "--config", "profile.release.opt-level=1",
         "--config", 'profile.release.package."*".opt-level=3']


def copy_tree():
    """Brings the copy to the last commit. A file that is the same keeps its time, so that little is built again."""
    archive = subprocess.run(["git", "archive", "HEAD", "Cargo.toml", "Cargo.lock", "node/core", "node/sim"],
                             cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in filter(tarfile.TarInfo.isfile, files):
            content = files.extractfile(member).read()
            if member.name == "Cargo.toml":
                content = manifest(content.decode()).encode()
            path = WORK / member.name
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def manifest(text):
    """The workspace's manifest without the packages that are not in the copy."""
    text = re.sub(r"members = \[.*\]", 'members = ["node/core", "node/sim"]', text, count=1)
    text = re.sub(r"default-members = .*\n", "", text)
    return re.sub(r"\[profile\.dev\.package[^\[]*", "", text)


def mutate(mutation):
    """Puts a bug into the copy and builds it; answers why it cannot be, if so."""
    path = WORK / "node/core/src" / mutation["file"]
    text = path.read_text()
    if text.count(mutation["old"]) != 1:
        return f"{mutation['file']} holds {text.count(mutation['old'])} times: {mutation['old']}"
    path.write_text(text.replace(mutation["old"], mutation["new"]))
    built = subprocess.run(CARGO, cwd=WORK, capture_output=True, text=True)
    return None if built.returncode == 0 else built.stderr


def seeds_to_detect(start, settings):
    program = WORK / "target/release/quarry-sim"
    options = ["--first", "--with", settings]
    # A bug may make a run endless: that is seen, too.
    try:
        run = subprocess.run([program, str(start), str(SEEDS_MAX), *options], capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return SEEDS_MAX, "(endless)", "no end within 600 s"
    if run.returncode not in (0, 1):
        sys.exit(run.stderr)
    seen = re.search(r"^seed (\d+) failed: (\w+): (.*)$", run.stderr, re.MULTILINE)
    return (int(seen[1]) - start + 1, seen[2], seen[3]) if seen else (None, None, None)


def is_seen(mutation):
    """Runs seeds with a bug that has been put in, and prints the bug's row."""
    counts, checkers = [], collections.Counter()
    for start in STARTS:
        count, checker, text = seeds_to_detect(start, mutation.get("with", "{}"))
        print(f"{mutation['name']}: {count} {checker}: {text}", file=sys.stderr, flush=True)
        if count:
            counts.append(count)
            checkers[checker] += 1
    median = f"{statistics.median(counts):g}" if counts else "not seen"
    who = ", ".join(name for name, _ in checkers.most_common())
    print(f"| {mutation['name']}: {mutation['story']} | {who} | {median} | {len(counts)}/{len(STARTS)} |", flush=True)
    return bool(counts)


def main():
    with open(pathlib.Path(__file__).with_name("mutations.toml"), "rb") as file:
        mutations = tomllib.load(file)["mutation"]
    named = {mutation["name"]: mutation for mutation in mutations}
    unknown = [name for name in sys.argv[1:] if name not in named]
    if unknown:
        sys.exit(f"no such bug: {', '.join(unknown)}\n{__doc__}")
    failed = []
    print("| bug | seen by | median seeds | of starts |", "|---|---|---|---|", sep="\n", flush=True)
    for mutation in [named[name] for name in sys.argv[1:]] or mutations:
        copy_tree()
        error = mutate(mutation)
        if error:
            print(f"{mutation['name']}: not run: {error}", file=sys.stderr, flush=True)
        if error or not is_seen(mutation):
            failed.append(mutation["name"])
    sys.exit(f"not seen or not run: {', '.join(failed)}" if failed else 0)


main()
