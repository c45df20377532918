"""The Debian package: what it names is there, and the workflow that makes it does what a release needs."""

import tomllib

import yaml

from cloud import DEPLOY

ROOT = DEPLOY.parent
MANIFEST = tomllib.loads((ROOT / "node/Cargo.toml").read_text())
DEB = MANIFEST["package"]["metadata"]["deb"]
MADE = ("target/", "../target/")


def test_every_asset_is_in_the_tree_or_made_by_deb_sh():
    script = (DEPLOY / "deb.sh").read_text()
    for source, _, mode in DEB["assets"]:
        if source == "target/release/node":
            assert mode == "755" and "cargo build --release" in script
        elif source.startswith(MADE):
            assert source.removeprefix("../").removesuffix("/*") in script
        else:
            assert (ROOT / "node" / source).is_file()


def test_the_unit_starts_the_program_of_the_package():
    installed = {target for _, target, _ in DEB["assets"]}
    unit = (DEPLOY / "quarry@.service").read_text()
    program = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split("=")[1].split()[0]
    assert program.removeprefix("/") in installed


def test_a_release_is_tested_before_it_is_built_and_published():
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    jobs = workflow["jobs"]
    assert jobs["build"]["needs"] == "test" and jobs["publish"]["needs"] == "build"
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert "make test" in commands and "deploy/deb.sh" in commands
    assert {it["processor"] for it in jobs["build"]["strategy"]["matrix"]["include"]} == {"x86_64", "aarch64"}
    # Only the last job may write.
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
