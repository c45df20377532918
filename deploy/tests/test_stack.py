"""Stacks of quarry.yaml are what they should be; and each check fails once the template is broken for it."""

import functools

import pytest
from cfnlint.api import lint_file

import broken
import policies
from cloud import DEPLOY, IMAGE_IDS, Stack, arn, is_allowed, tags, template

CPU = {}
MIXED = {"Nodes": "0:cpu,1:cpu,2:cpu,3:gpu", "CpuInstanceType": "t4g.micro", "GpuInstanceType": "g6.xlarge"}
# A fifth and a sixth node, which may not list queues, of a network with a file of its own.
JOINING = {
    "Nodes": "4:gpu,17:cpu",
    "QueuePrefix": "mine_",
    "Peers": "0,1,2,3,4,17",
    "HighThroughput": "true",
    "NetworkUri": "s3://other/network.toml",
    "ProgramUri": "https://example.com/quarry.deb",
    "VpcId": "vpc-0123",
    "SubnetId": "subnet-0123",
    "Shell": "false",
    "CpuInstanceType": "t3a.nano",
}
NODES = {
    "cpu": {0: "t3.small", 1: "t3.small", 2: "t3.small", 3: "t3.small"},
    "mixed": {0: "t4g.micro", 1: "t4g.micro", 2: "t4g.micro", 3: "g6.xlarge"},
    "joining": {4: "g4dn.xlarge", 17: "t3a.nano"},
}
STACKS = {"cpu": CPU, "mixed": MIXED, "joining": JOINING}

OWN = {
    "ChangeMessageVisibility",
    "CreateQueue",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListQueueTags",
    "ReceiveMessage",
    "SendMessage",
    "SetQueueAttributes",
    "TagQueue",
}
PEERS = {"GetQueueUrl", "SendMessage"}
SESSION = {
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}


def each_node(stack):
    """Each node's slot in the template, number and queue."""
    for slot in stack.slots():
        queue = stack.resources[f"Queue{slot}"].split("/")[-1]
        prefix = stack.parameters.get("QueuePrefix", "demo-")
        yield slot, int(queue.removeprefix(prefix).removesuffix(".fifo")), queue


# The checks, each of one thing.


def queues_are_as_the_program_makes_them(stack):
    grouped = stack.parameters.get("HighThroughput") == "true"
    expected = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "SqsManagedSseEnabled": "true",
        "MessageRetentionPeriod": "3600",
        "VisibilityTimeout": "15",
        "ReceiveMessageWaitTimeSeconds": "20",
        "MaximumMessageSize": str(256 * 1024),
        "DeduplicationScope": "messageGroup" if grouped else "queue",
        "FifoThroughputLimit": "perMessageGroupId" if grouped else "perQueue",
    }
    queues = stack.queues()
    assert len(queues) == len(stack.slots())
    for name, found in queues.items():
        assert {key: str(found.get(key)).lower() for key in expected} == {
            k: v.lower() for k, v in expected.items()
        }, name
        assert "Policy" not in found, "a queue lets in whom its own policy names"


def queues_are_named_by_prefix_and_node(stack):
    nodes = stack.parameters.get("Nodes", "0:cpu,1:cpu,2:cpu,3:cpu")
    prefix = stack.parameters.get("QueuePrefix", "demo-")
    assert set(stack.queues()) == {f"{prefix}{node.split(':')[0]}.fifo" for node in nodes.split(",")}


def nothing_comes_in(stack):
    assert len(stack.launch()["SecurityGroupIds"]) == 1
    assert stack.security_group()["IpPermissions"] == []
    # AWS puts the rules that go out in the place of the one that lets out everything, moto beside it.
    out = stack.properties("NoInbound").get("SecurityGroupEgress", [])
    assert [(it["IpProtocol"], it["FromPort"], it["ToPort"]) for it in out] == [
        ("tcp", 443, 443),
        ("tcp", 80, 80),
    ]
    for slot in stack.slots():
        # Each would bring a security group, an address or a key of its own.
        own = {"SecurityGroups", "SecurityGroupIds", "NetworkInterfaces", "KeyName", "UserData"}
        assert not own & set(stack.properties(f"Instance{slot}"))
    assert "KeyName" not in stack.launch()


def allowed_on(statements, every, queue):
    """The actions on a queue that are allowed, but for the one that is not on a queue."""
    return {it for it in every if policies.allowed(statements, f"sqs:{it}", arn(queue))} - {"ListQueues"}


def a_node_receives_from_its_own_queue_only(stack):
    every = stack.sqs.meta.service_model.operation_names
    for slot, _, own in each_node(stack):
        statements = stack.statements(slot)

        may = functools.partial(allowed_on, statements, every)
        assert may(own) == OWN
        prefix = stack.parameters.get("QueuePrefix", "demo-")
        for peer in {f"{prefix}9.fifo", *stack.queues()} - {own}:
            assert may(peer) == PEERS, peer
        for foreign in ("other-0.fifo", f"x{own}", own.removesuffix(".fifo")):
            assert may(foreign) == set(), foreign
        elsewhere = arn(own).replace("eu-west-1", "us-east-1")
        assert not any(
            policies.allowed(statements, f"sqs:{it}", elsewhere) for it in {*every} - {"ListQueues"}
        )


def queues_are_listed_only_to_find_peers(stack):
    for slot in stack.slots():
        finds = stack.parameters.get("Peers", "") == ""
        assert policies.allowed(stack.statements(slot), "sqs:ListQueues", "*") == finds


def nobody_deletes_or_purges(stack):
    for slot, _, own in each_node(stack):
        for action in ("sqs:DeleteQueue", "sqs:PurgeQueue"):
            assert not policies.allowed(stack.statements(slot), action, arn(own)), action


def a_node_may_do_nothing_else(stack):
    files = {stack.parameters["ProgramUri"], stack.parameters.get("NetworkUri", "")}
    objects = {f"arn:aws:s3:::{uri.removeprefix('s3://')}" for uri in files if uri.startswith("s3://")}
    expected = {f"sqs:{it}" for it in OWN}
    expected |= {"s3:GetObject"} if objects else set()
    expected |= {"sqs:ListQueues"} if stack.parameters.get("Peers", "") == "" else set()
    expected |= SESSION if stack.parameters.get("Shell", "true") == "true" else set()
    for slot in stack.slots():
        statements = stack.statements(slot)
        assert policies.actions(statements) == expected
        for it in objects:
            assert policies.allowed(statements, "s3:GetObject", it)
        for it in ("arn:aws:s3:::bucket/other", "arn:aws:s3:::bucket", "arn:aws:s3:::other/other"):
            assert not policies.allowed(statements, "s3:GetObject", it)


def only_its_instance_is_a_node(stack):
    instances = stack.instances()
    for slot, node, _ in each_node(stack):
        allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        assert stack.trust(slot) == [allow]
        assert stack.profile_roles(slot) == [stack.resources[f"Role{slot}"]]
        profile = instances[node]["IamInstanceProfile"]["Arn"].split("/")[-1]
        assert profile == stack.resources[f"Profile{slot}"]
    assert len({stack.resources[f"Role{slot}"] for slot in stack.slots()}) == len(stack.slots())


def instances_know_which_node_they_are(stack):
    instances = stack.instances()
    for _, node, queue in each_node(stack):
        gpu = f"{node}:gpu" in stack.parameters.get("Nodes", "").split(",")
        found = tags(instances[node])
        assert (found["Name"], found["quarry-backend"]) == (queue, "gpu" if gpu else "cpu")
    assert stack.launch()["MetadataOptions"]["InstanceMetadataTags"] == "enabled"


def instances_run_the_image_of_their_kind(stack):
    for node, instance in stack.instances().items():
        kind = instance["InstanceType"].split(".")[0]
        image = {"t4g": "/image/arm", "t3": "/image/x86", "t3a": "/image/x86"}.get(kind, "/image/gpu")
        assert instance["ImageId"] == IMAGE_IDS[image], node


def credits_are_standard(stack):
    for slot in stack.slots():
        found = stack.properties(f"Instance{slot}")
        burstable = found["InstanceType"].startswith("t")
        # Other types refuse to be launched with the setting.
        assert found.get("CreditSpecification") == ({"CPUCredits": "standard"} if burstable else None)


def metadata_needs_a_session(stack):
    options = stack.launch()["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def disks_are_encrypted(stack):
    disks = [it["Ebs"] for it in stack.launch()["BlockDeviceMappings"]]
    assert disks and all(it["Encrypted"] and it["DeleteOnTermination"] for it in disks)
    assert not any("BlockDeviceMappings" in stack.properties(f"Instance{slot}") for slot in stack.slots())


def instances_are_launched_as_described(stack):
    for slot in stack.slots():
        launch = stack.properties(f"Instance{slot}")["LaunchTemplate"]
        assert launch["LaunchTemplateId"] == stack.resources["Launch"]
        assert stack.properties(f"Instance{slot}").get("SubnetId") == stack.parameters.get("SubnetId")


CHECKS = [
    queues_are_as_the_program_makes_them,
    queues_are_named_by_prefix_and_node,
    nothing_comes_in,
    a_node_receives_from_its_own_queue_only,
    queues_are_listed_only_to_find_peers,
    nobody_deletes_or_purges,
    a_node_may_do_nothing_else,
    only_its_instance_is_a_node,
    instances_know_which_node_they_are,
    instances_run_the_image_of_their_kind,
    credits_are_standard,
    metadata_needs_a_session,
    disks_are_encrypted,
    instances_are_launched_as_described,
]


def test_the_linter_finds_nothing():
    assert [str(match) for match in lint_file(DEPLOY / "quarry.yaml")] == []


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_as_it_should_be_from_creation_to_deletion(name):
    with Stack(STACKS[name]) as stack:
        assert stack.status() == "CREATE_COMPLETE"
        assert {node: it["InstanceType"] for node, it in stack.instances().items()} == NODES[name]
        for check in CHECKS:
            check(stack)
        outputs_name_what_there_is(stack)
        stack.delete()
        assert (stack.queues(), stack.instances(), stack.iam.list_roles()["Roles"]) == ({}, {}, [])


@pytest.mark.parametrize(
    ("check", "break_it"), broken.BREAKAGES, ids=lambda it: it if isinstance(it, str) else ""
)
def test_what_is_broken_is_noticed(check, break_it):
    changed = template()
    break_it(changed)
    assert changed != template()
    with Stack(MIXED, changed) as stack, pytest.raises(AssertionError):
        named(check)(stack)


def outputs_name_what_there_is(stack):
    outputs = stack.outputs()
    for slot, node, queue in each_node(stack):
        assert outputs.pop(f"QueueUrl{slot}").endswith(f"/{queue}")
        instance = outputs.pop(f"Instance{slot}")
        assert instance == stack.instances()[node]["InstanceId"]
        if slot == "A":
            assert instance in outputs.pop("Log")
            if stack.parameters.get("Shell") != "false":
                assert instance in outputs.pop("Watch")
    assert outputs == {}


def test_every_check_is_proven():
    assert {check for check, _ in broken.BREAKAGES} == {check.__name__ for check in CHECKS}


def named(check):
    return next(it for it in CHECKS if it.__name__ == check)


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "Nodes",
            ["0:cpu", "65535:gpu", "0:cpu,1:gpu,2:cpu,30:gpu"],
            ["", "0", "0:tpu", "00:cpu", "0:cpu,", "0:cpu, 1:cpu", "0:cpu,1:cpu,2:cpu,3:cpu,4:cpu", "-1:cpu"],
        ),
        ("QueuePrefix", ["demo-", "a_B9", "x" * 70], ["", "a*", "a.b", "a'b", "x" * 71]),
        ("Peers", ["", "0", "0,1,2"], ["0,", "none", "0 1", "01"]),
        ("NetworkUri", ["", "s3://b/network.toml"], ["s3://b/", "https://h/x", "s3://b/x'y", "s3://b/a b"]),
        (
            "ProgramUri",
            ["s3://b/k/quarry.tar.gz", "https://host.example/quarry.deb"],
            ["", "http://h/x", "s3://b", "file:///x", "s3://b/*", "s3://b/$(x)", "s3://b/x'"],
        ),
        ("ProgramSha256", ["0a" * 32], ["", "0A" * 32, "0a" * 31]),
        ("NodeOptions", ["", "--mine-empty --threads 1"], ["'", "$(x)", "a\nb", "a;b"]),
        ("CpuInstanceType", ["t3.nano", "t4g.2xlarge"], ["t2.micro", "m7i.large", "t3xnano"]),
        (
            "GpuInstanceType",
            ["g4dn.xlarge", "g6e.48xlarge"],
            ["g4dn.metal", "g5g.xlarge", "p5.48xlarge", "t3.xlarge"],
        ),
    ],
)
def test_parameters_are_checked(parameter, good, bad):
    for value in good:
        assert is_allowed(parameter, value), value
    for value in bad:
        assert not is_allowed(parameter, value), value
