"""Ways to break the template, each with the check that must notice.

Invariant: every check of test_stack is named by a breakage at least once; test_stack sees to it.
"""


def resource(name):
    return lambda template: template["Resources"][name]["Properties"]


def changed(find, key, value):
    """Sets a property, or removes it where the value is None."""

    def change(template):
        found = find(template)
        if value is None:
            del found[key]
        else:
            found[key] = value

    return change


def launch(template):
    return resource("Launch")(template)["LaunchTemplateData"]


def options(template):
    return launch(template)["MetadataOptions"]


def network_policy(template):
    return resource("NetworkPolicy")(template)["PolicyDocument"]["Statement"]


def own_policy(slot):
    return lambda template: resource(f"Role{slot}")(template)["Policies"][0]["PolicyDocument"]["Statement"][0]


def trust(template, slot):
    return resource(f"Role{slot}")(template)["AssumeRolePolicyDocument"]["Statement"]


def granted(slot, *actions):
    return lambda template: own_policy(slot)(template)["Action"].extend(actions)


def added(statement):
    return lambda template: network_policy(template).append(statement)


def allow(action, where="*"):
    return {"Effect": "Allow", "Action": action, "Resource": where}


INGRESS = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}]
ANYBODY = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}

BREAKAGES = [
    ("queues_are_as_the_program_makes_them", changed(resource("QueueA"), "ContentBasedDeduplication", False)),
    ("queues_are_as_the_program_makes_them", changed(resource("QueueB"), "SqsManagedSseEnabled", False)),
    ("queues_are_as_the_program_makes_them", changed(resource("QueueB"), "MessageRetentionPeriod", 3601)),
    ("queues_are_as_the_program_makes_them", changed(resource("QueueC"), "VisibilityTimeout", None)),
    ("queues_are_as_the_program_makes_them", changed(resource("QueueC"), "ReceiveMessageWaitTimeSeconds", 0)),
    ("queues_are_as_the_program_makes_them", changed(resource("QueueD"), "MaximumMessageSize", 65536)),
    (
        "queues_are_as_the_program_makes_them",
        changed(resource("QueueD"), "DeduplicationScope", "messageGroup"),
    ),
    ("queues_are_named_by_prefix_and_node", changed(resource("QueueB"), "QueueName", "demo-7.fifo")),
    ("nothing_comes_in", changed(resource("NoInbound"), "SecurityGroupIngress", INGRESS)),
    ("nothing_comes_in", changed(resource("NoInbound"), "SecurityGroupEgress", None)),
    (
        "nothing_comes_in",
        lambda it: launch(it)["SecurityGroupIds"].append({"Fn::GetAtt": ["NoInbound", "GroupId"]}),
    ),
    ("nothing_comes_in", changed(launch, "KeyName", "key")),
    ("nothing_comes_in", changed(resource("InstanceC"), "KeyName", "key")),
    (
        "a_node_receives_from_its_own_queue_only",
        changed(own_policy("A"), "Resource", {"Fn::GetAtt": ["QueueB", "Arn"]}),
    ),
    ("a_node_receives_from_its_own_queue_only", changed(own_policy("B"), "Resource", "*")),
    ("a_node_receives_from_its_own_queue_only", granted("C", "sqs:AddPermission")),
    ("a_node_receives_from_its_own_queue_only", changed(own_policy("D"), "Action", ["sqs:ReceiveMessage"])),
    ("a_node_receives_from_its_own_queue_only", added(allow("sqs:Receive*"))),
    ("a_node_receives_from_its_own_queue_only", added({**allow("sqs:SendMessage"), "Effect": "Deny"})),
    ("queues_are_listed_only_to_find_peers", lambda it: network_policy(it).pop(1)),
    ("nobody_deletes_or_purges", granted("A", "sqs:DeleteQueue")),
    ("nobody_deletes_or_purges", granted("D", "sqs:PurgeQueue")),
    ("nobody_deletes_or_purges", added(allow("sqs:*"))),
    ("a_node_may_do_nothing_else", added(allow("s3:PutObject"))),
    ("a_node_may_do_nothing_else", added(allow("s3:GetObject"))),
    ("a_node_may_do_nothing_else", added(allow("iam:PassRole"))),
    ("only_its_instance_is_a_node", changed(resource("ProfileB"), "Roles", [{"Ref": "RoleA"}])),
    (
        "only_its_instance_is_a_node",
        changed(resource("InstanceC"), "IamInstanceProfile", {"Ref": "ProfileA"}),
    ),
    ("only_its_instance_is_a_node", lambda it: trust(it, "D").append(ANYBODY)),
    ("instances_know_which_node_they_are", changed(options, "InstanceMetadataTags", "disabled")),
    (
        "instances_know_which_node_they_are",
        lambda it: resource("InstanceA")(it)["Tags"][2].update(Value="gpu"),
    ),
    (
        "instances_run_the_image_of_their_kind",
        changed(resource("InstanceA"), "ImageId", {"Ref": "CpuImageX86"}),
    ),
    ("credits_are_standard", changed(resource("InstanceA"), "CreditSpecification", None)),
    (
        "credits_are_standard",
        changed(resource("InstanceB"), "CreditSpecification", {"CPUCredits": "unlimited"}),
    ),
    ("metadata_needs_a_session", changed(options, "HttpTokens", "optional")),
    ("metadata_needs_a_session", changed(options, "HttpPutResponseHopLimit", 2)),
    ("disks_are_encrypted", lambda it: launch(it)["BlockDeviceMappings"][0]["Ebs"].update(Encrypted=False)),
    (
        "instances_are_launched_as_described",
        lambda it: resource("InstanceA")(it)["LaunchTemplate"].update(LaunchTemplateId="lt-0"),
    ),
]
