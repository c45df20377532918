"""What happens on an instance: the user data installs and starts the node, and its unit is well hardened."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from cloud import DEPLOY, REGION, Stack

# How exposed a unit may be, in tenths of what systemd-analyze says: 100 is everything, 0 nothing.
EXPOSURE_MAX = {"cpu": 12, "gpu": 14}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """What package.sh makes of a program that does nothing."""
    folder = tmp_path_factory.mktemp("package")
    program, package = folder / "node", folder / "quarry.tar.gz"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    subprocess.run([DEPLOY / "package.sh", program, package], check=True, stdout=subprocess.DEVNULL)
    return package


class Machine:
    """Runs user data with all its paths inside a folder, where stubs stand for the programs that would leave it."""

    STUBS = {
        "curl": """
            case "$*" in
              *"-X PUT"*/latest/api/token) echo token ;;
              *"X-aws-ec2-metadata-token: token"*/tags/instance/quarry-node) echo $NODE ;;
              *"X-aws-ec2-metadata-token: token"*/tags/instance/quarry-backend) echo $BACKEND ;;
              *--output*https://*) while [ "$1" != --output ]; do shift; done; cp "$PACKAGE" "$2" ;;
              *) exit 22 ;;
            esac""",
        "python3": """
            case "$4/$5" in
              bucket/folder/quarry.tar.gz) cp "$PACKAGE" "$6" ;;
              other/network.toml) echo 'name = "mine"' >"$6" ;;
              *) exit 1 ;;
            esac""",
        "apt-get": "",
        "systemctl": "",
    }

    def __init__(self, folder, package):
        self.root, self.log, self.package = folder / "root", folder / "log", package
        self.bin = folder / "bin"
        for made in (self.root, self.root / "tmp", self.bin):
            made.mkdir()
        for name, text in self.STUBS.items():
            stub = self.bin / name
            stub.write_text(f'#!/bin/bash\necho {name} "$*" >>"$LOG"\n{text}\n')
            stub.chmod(0o755)

    def run(self, user_data, node, backend):
        user_data = user_data.replace("/usr/bin/python3", "python3")
        # Where a path is a word of its own; in the node's settings it is the one that the node will see.
        user_data = re.sub(
            r'(?<=[ "])/(?=(etc|tmp|usr)/|[ ]|$)', f"{self.root}/", user_data, flags=re.MULTILINE
        )
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "PACKAGE": str(self.package),
            "NODE": node,
            "BACKEND": backend,
        }
        done = subprocess.run(
            ["bash"],
            input=user_data,
            env=environment,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def calls(self):
        return self.log.read_text().splitlines()

    def settings(self, node):
        lines = (self.root / f"etc/quarry/node-{node}.env").read_text().splitlines()
        return {key: value.strip() for key, value in (line.split("=", 1) for line in lines)}


@pytest.fixture
def machine(tmp_path, package):
    return Machine(tmp_path, package)


def user_data(package, **parameters):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    with Stack({"ProgramSha256": digest, **parameters}) as stack:
        return stack.user_data()


def starts_the_unit(machine, node):
    assert machine.calls()[-2:] == [
        "systemctl daemon-reload",
        f"systemctl enable --now quarry@{node}.service",
    ]


def test_user_data_starts_a_node_on_the_cpu(machine, package):
    text = user_data(package)
    assert text.startswith("#!/bin/bash\n")
    assert len(text.encode()) < 16 * 1024, "more than EC2 takes"
    assert machine.run(text, "0", "cpu")[0] == 0
    starts_the_unit(machine, 0)
    assert machine.settings(0) == {
        "QUARRY_TRANSPORT": "sqs",
        "QUARRY_QUEUE_PREFIX": "demo-",
        "QUARRY_OPTIONS": "--backend cpu --cpu-limit auto",
        "AWS_REGION": REGION,
    }
    assert not any("libvulkan1" in call for call in machine.calls())
    assert (machine.root / "usr/bin/quarry").stat().st_mode & 0o777 == 0o755
    assert unit(machine).read_text() == (DEPLOY / "quarry@.service").read_text()
    assert not (unit(machine).parent / "quarry@.service.d/gpu.conf").is_symlink()


def test_user_data_starts_a_node_on_a_gpu(machine, package):
    text = user_data(
        package,
        HighThroughput="true",
        Peers="0,1,7",
        QueuePrefix="mine-",
        NodeOptions="--mine-empty",
        NetworkUri="s3://other/network.toml",
    )
    assert machine.run(text, "7", "gpu")[0] == 0
    starts_the_unit(machine, 7)
    assert machine.settings(7) == {
        "QUARRY_TRANSPORT": "sqs",
        "QUARRY_QUEUE_PREFIX": "mine-",
        "QUARRY_OPTIONS": "--backend gpu --cpu-limit auto --peers 0,1,7 --high-throughput-queues --mine-empty",
        "AWS_REGION": REGION,
        "QUARRY_NETWORK": "/etc/quarry/network.toml",
    }
    assert (machine.root / "etc/quarry/network.toml").read_text() == 'name = "mine"\n'
    installed = " ".join(call for call in machine.calls() if call.startswith("apt-get install"))
    assert {"libvulkan1", "libxext6", "libx11-6"} <= set(installed.split())
    assert (unit(machine).parent / "quarry@.service.d/gpu.conf").read_text() == (
        DEPLOY / "gpu.conf"
    ).read_text()


def test_user_data_installs_a_debian_package(machine, package):
    text = user_data(package, ProgramUri="https://example.com/quarry.deb")
    assert machine.run(text, "0", "cpu")[0] == 0
    starts_the_unit(machine, 0)
    assert any(
        call.startswith("apt-get install") and call.endswith("/tmp/quarry.deb") for call in machine.calls()
    )


def test_another_program_than_the_one_named_is_not_installed(machine, package):
    code, said = machine.run(user_data(package, ProgramSha256="0" * 64), "0", "cpu")
    assert code != 0 and "FAILED" in said
    assert not (machine.root / "usr/bin/quarry").exists()
    assert not any(call.startswith("systemctl") for call in machine.calls())


@pytest.mark.parametrize("line", ['systemctl enable --now "quarry@$node.service"', "systemctl daemon-reload"])
def test_a_unit_that_is_not_started_is_noticed(machine, package, line):
    text = user_data(package)
    assert line in text
    assert machine.run(text.replace(line, ""), "0", "cpu")[0] == 0
    with pytest.raises(AssertionError):
        starts_the_unit(machine, 0)


def test_a_package_holds_the_files_where_they_belong(package):
    with tarfile.open(package) as archive:
        members = {it.name: (oct(it.mode), it.uid, it.gid) for it in archive}
    assert members == {
        "etc/systemd/system/quarry@.service": ("0o644", 0, 0),
        "usr/bin/quarry": ("0o755", 0, 0),
        "usr/share/quarry/gpu.conf": ("0o644", 0, 0),
    }


def test_there_is_no_package_without_a_program(tmp_path):
    done = subprocess.run(
        [DEPLOY / "package.sh", tmp_path / "node", tmp_path / "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "cargo build --release" in done.stderr
    assert not (tmp_path / "x").exists()


def unit(machine):
    return machine.root / "etc/systemd/system/quarry@.service"


def install(folder, backend, change=lambda text: text):
    """The unit, and with a GPU its addition, in a folder of its own; the program is one that every machine has."""
    text = (DEPLOY / "quarry@.service").read_text().replace("/usr/bin/quarry", "/bin/true")
    installed = folder / "quarry@.service"
    installed.write_text(change(text))
    if backend == "gpu":
        (folder / "quarry@.service.d").mkdir()
        shutil.copy(DEPLOY / "gpu.conf", folder / "quarry@.service.d")
    return installed


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("backend", EXPOSURE_MAX)
def test_systemd_understands_the_unit(tmp_path, backend):
    assert analyze("verify", install(tmp_path, backend)) == (0, "")


def test_systemd_complains_of_what_it_does_not_know(tmp_path):
    said = analyze(
        "verify", install(tmp_path, "cpu", lambda text: text.replace("ProtectHome", "ProtectHouse"))
    )
    assert "ProtectHouse" in said[1]


def exposure(folder, backend, change=lambda text: text):
    """Whether systemd finds the unit exposed beyond the limit, and what it says."""
    installed = install(folder, backend, change)
    limit = f"--threshold={EXPOSURE_MAX[backend]}"
    return analyze("security", "--offline=true", "--no-pager", limit, installed)


@pytest.mark.parametrize("backend", EXPOSURE_MAX)
def test_the_unit_is_hardened(tmp_path, backend):
    code, said = exposure(tmp_path, backend)
    assert code == 0, said


@pytest.mark.parametrize(
    "line",
    [
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "PrivateDevices=yes",
        "CapabilityBoundingSet=",
        "RestrictNamespaces=yes",
        "ProtectProc=invisible",
    ],
)
def test_less_hardening_is_noticed(tmp_path, line):
    def change(text):
        assert f"\n{line}\n" in text
        return text.replace(f"\n{line}\n", "\n")

    code, said = exposure(tmp_path, "cpu", change)
    assert code != 0, said
