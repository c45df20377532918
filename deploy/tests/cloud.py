"""Creates stacks of quarry.yaml in memory, and tells what is in them.

Invariant: what the checks look at is what the cloud made of the template; only where moto makes nothing of a property
is it read from the template, its functions resolved by moto.
"""

import ast
import base64
import copy
import functools
import json
import os
import re
from pathlib import Path

import boto3
import moto
from cfnlint.decode import decode
from moto.cloudformation import parsing
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID

DEPLOY = Path(__file__).resolve().parent.parent
REGION = "eu-west-1"
# The images' parameters, the names of their public values, and these values.
IMAGES = {"CpuImageX86": "/image/x86", "CpuImageArm": "/image/arm", "GpuImage": "/image/gpu"}
IMAGE_IDS = {"/image/x86": "ami-0000000a", "/image/arm": "ami-0000000b", "/image/gpu": "ami-0000000c"}
PROGRAM = {"ProgramUri": "s3://bucket/folder/quarry.tar.gz", "ProgramSha256": "0" * 64}

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION=REGION)
os.environ.pop("AWS_PROFILE", None)
# Thousands of images that nobody asks for, loaded anew for every stack.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

_resolve = parsing.clean_json


def _resolve_without_holes(value, resources):
    """AWS leaves AWS::NoValue out of lists; moto leaves a None there."""
    resolved = _resolve(value, resources)
    return [item for item in resolved if item is not None] if isinstance(resolved, list) else resolved


parsing.clean_json = _resolve_without_holes


def template():
    """The template as plain dictionaries, a copy for the caller to change."""
    return json.loads(_template())


@functools.cache
def _template():
    parsed, problems = decode(str(DEPLOY / "quarry.yaml"))
    assert not problems, problems
    return json.dumps(parsed)


@functools.cache
def client(service):
    return boto3.client(service)


def is_allowed(parameter, value):
    """Whether the template takes this value; AWS matches the whole of it."""
    return re.fullmatch(template()["Parameters"][parameter]["AllowedPattern"], value) is not None


class Stack:
    """A stack, created on entry and deleted on exit."""

    def __init__(self, parameters, changed=None):
        self.template = changed or template()
        self.parameters = IMAGES | PROGRAM | parameters
        self._mock = moto.mock_aws()

    def __enter__(self):
        self._mock.start()
        try:
            self._create()
        except BaseException:
            self._mock.stop()
            raise
        return self

    def __exit__(self, *_):
        self._mock.stop()

    def _create(self):
        self.ec2, self.sqs, self.iam = client("ec2"), client("sqs"), client("iam")
        self.cloud, ssm = client("cloudformation"), client("ssm")
        for name, image in IMAGE_IDS.items():
            ssm.put_parameter(Name=name, Value=image, Type="String")
        if "VpcId" in self.parameters:
            vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
            self.parameters |= {"VpcId": vpc, "SubnetId": subnet}
        body = copy.deepcopy(self.template)
        for name in IMAGES:
            # moto looks a default up even where there is a value, and knows no public parameters.
            body["Parameters"][name].pop("Default", None)
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        self.cloud.create_stack(
            StackName="quarry",
            TemplateBody=json.dumps(body),
            Parameters=given,
            Capabilities=["CAPABILITY_IAM"],
        )
        rows = self.cloud.list_stack_resources(StackName="quarry")["StackResourceSummaries"]
        self.resources = {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}

    def properties(self, name):
        """A resource's properties as the template has them, resolved."""
        stack = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].get_stack("quarry")
        return parsing.clean_json(stack.template_dict["Resources"][name]["Properties"], stack.resource_map)

    def delete(self):
        self.cloud.delete_stack(StackName="quarry")

    def status(self):
        return self.cloud.describe_stacks(StackName="quarry")["Stacks"][0]["StackStatus"]

    def outputs(self):
        stack = self.cloud.describe_stacks(StackName="quarry")["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def slots(self):
        """The letters of the nodes that there are."""
        return [
            name.removeprefix("Instance") for name in self.resources if re.fullmatch("Instance[A-D]", name)
        ]

    def queues(self):
        """The attributes of all queues, by name."""
        urls = self.sqs.list_queues().get("QueueUrls", [])
        read = self.sqs.get_queue_attributes
        return {url.split("/")[-1]: read(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls}

    def instances(self):
        """The instances that are not terminated, by the numbers of their nodes."""
        found = [it for group in self.ec2.describe_instances()["Reservations"] for it in group["Instances"]]
        alive = [it for it in found if it["State"]["Name"] != "terminated"]
        return {int(tags(instance)["quarry-node"]): instance for instance in alive}

    def launch(self):
        """What the instances are launched with."""
        versions = self.ec2.describe_launch_template_versions(
            LaunchTemplateId=self.resources["Launch"], Versions=["$Latest"]
        )
        return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def user_data(self):
        return base64.b64decode(self.launch()["UserData"]).decode()

    def security_group(self):
        (group,) = self.launch()["SecurityGroupIds"]
        return self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]

    def statements(self, slot):
        """What a node's role says it may do: the statements of all its policies."""
        role = self.resources[f"Role{slot}"]
        documents = [
            self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        ]
        # moto makes the managed policy, but does not attach it.
        for policy in self.properties(f"Role{slot}")["ManagedPolicyArns"]:
            version = self.iam.get_policy_version(PolicyArn=policy, VersionId="v1")
            documents.append(version["PolicyVersion"]["Document"])
        # moto hands inline policies on as Python prints them.
        documents = [ast.literal_eval(it) if isinstance(it, str) else it for it in documents]
        return [statement for document in documents for statement in document["Statement"]]

    def trust(self, slot):
        role = self.iam.get_role(RoleName=self.resources[f"Role{slot}"])["Role"]
        return role["AssumeRolePolicyDocument"]["Statement"]

    def profile_roles(self, slot):
        profile = self.iam.get_instance_profile(InstanceProfileName=self.resources[f"Profile{slot}"])
        return [role["RoleName"] for role in profile["InstanceProfile"]["Roles"]]


def tags(resource):
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def arn(queue):
    return f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:{queue}"
