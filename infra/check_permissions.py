"""Checks that each role of template.yaml allows the calls that its function makes, and each policy of infra/iam the calls of
its commands, and that they deny similar calls.

    python infra/check_permissions.py

LocalStack does not enforce IAM, so a missing permission would be found only in a real account. This script resolves the
policies of the template for several sets of parameters, and the placeholders of the policies for people. It starts ministack's
policy simulator (environment of tests/requirements/permissions.txt) on a free port, asks it about each call, and stops it. The
simulator does not evaluate conditions, so this script does.
"""

import contextlib
import fnmatch
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.exceptions
import yaml

TEMPLATE = pathlib.Path(__file__).with_name("template.yaml")
REGION, ACCOUNT, STACK = "eu-central-1", "123456789012", "driftwarden"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111"
REPORT_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/22222222-2222-2222-2222-222222222222"
STATE, REPORTS = "arn:aws:s3:::state", "arn:aws:s3:::reports"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{STACK}"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead-letters"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
SECRET, PARAMETER = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
PIPELINE = f"{SAGEMAKER}:pipeline/churn"
REPORT = f"{REPORTS}/churn/2026/11/23/08/constraint_violations.json"
REPORT_BYOC = f"{REPORTS}/churn/2026/11/23/08/constraints_violations.json"
ANALYZE = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}-analyze"
JOB_DEFINITIONS = [
    ("DataQuality", "data-quality"), ("ModelQuality", "model-quality"), ("ModelBias", "model-bias"),
    ("ModelExplainability", "model-explainability"),
]
STREAM = "log-stream:2026/11/23/[$LATEST]0"

# Values of GetAtt and Ref.
ATTRIBUTES = {
    "StateBucket": "state", "StateBucket.Arn": STATE, "EventBus": STACK, "EventBus.Arn": BUS,
    "Topic": TOPIC, "DeadLetterQueue.Arn": QUEUE, "AnalyzeFunction.Arn": ANALYZE,
    "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com", "OperatorRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/operator",
}
NO_VALUE = object()


class Loader(yaml.SafeLoader):
    """Expands the short forms of CloudFormation functions."""


def short_form(loader, suffix, node):
    """Expands a short form: `!Sub x` becomes {"Fn::Sub": "x"}."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_form)


class Template:
    """The template, resolved for one set of parameters."""

    def __init__(self, parameters):
        self.document = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506: a subclass of SafeLoader
        defaults = {name: str(p["Default"]) for name, p in self.document["Parameters"].items() if "Default" in p}
        self.values = ATTRIBUTES | defaults | parameters

    def condition(self, name):
        """The value of a condition."""
        return self.resolve(self.document["Conditions"][name])

    def resolve(self, node):
        """Evaluates the CloudFormation functions that policies use. An unknown function is an error."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (function, argument), = node.items()
            match function:
                case "Ref":
                    return NO_VALUE if argument == "AWS::NoValue" else self.values[argument]
                case "Fn::GetAtt":
                    return self.values[argument]
                case "Fn::Sub" if isinstance(argument, list):
                    values = self.values | {name: self.resolve(value) for name, value in argument[1].items()}
                    return re.sub(r"\$\{([^}]+)\}", lambda match: values[match[1]], argument[0])
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
                case "Fn::Select":
                    return self.resolve(argument[1])[argument[0]]
                case "Fn::Sub":
                    return re.sub(r"\$\{([^}]+)\}", lambda match: self.values[match[1]], argument)
                case "Fn::Equals":
                    first, second = map(self.resolve, argument)
                    return first == second
                case "Fn::And":
                    return all(self.condition(part["Condition"]) if "Condition" in part else self.resolve(part) for part in argument)
                case "Fn::Not":
                    return not self.resolve(argument[0])
                case "Fn::If":
                    return self.resolve(argument[1] if self.condition(argument[0]) else argument[2])
            if function.startswith("Fn::"):
                raise NotImplementedError(f"{function} in a policy")
        return {key: value for key, value in ((k, self.resolve(v)) for k, v in node.items()) if value is not NO_VALUE}

    def policy(self, role):
        """All statements of a role as one policy. `None` if the role is not deployed."""
        resource = self.document["Resources"][role]
        if "Condition" in resource and not self.condition(resource["Condition"]):
            return None
        policies = self.resolve(resource["Properties"]["Policies"])
        if len(policies) != 1:
            raise SystemExit(f"{role}: expected one inline policy")
        statements = policies[0]["PolicyDocument"]["Statement"]
        for reference in resource["Properties"].get("ManagedPolicyArns", []):
            # A policy of this template. A policy of AWS would be an ARN and fail here.
            managed = self.document["Resources"][reference["Ref"]]["Properties"]["PolicyDocument"]
            statements = statements + self.resolve(managed)["Statement"]
        return {"Version": "2012-10-17", "Statement": statements}


def via(service):
    """Context of a call to KMS by a service."""
    return {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}


def event(detail_type, source="driftwarden"):
    """Context of PutEvents."""
    return {"events:source": source, "events:detail-type": detail_type}


# Context of a write that must not overwrite.
NEW = {"s3:if-none-match": "*"}
BASELINE_FILES = ("statistics", "constraints", "analysis", "analysis_config", "calibration", "segments", "intervals")


def logs(function):
    """ARN of a log stream of a function."""
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{STACK}-{function}:{STREAM}"


SCHEDULE = f"{SAGEMAKER}:monitoring-schedule/churn-quality"
ALERTS = ("sagemaker:ListMonitoringAlerts", "*")
START, READ_PARAMETERS = ("sagemaker:StartPipelineExecution", PIPELINE), (
    "sagemaker:ListPipelineParametersForExecution", f"{PIPELINE}/execution/abcdefghijkl")
# Read calls of a decision, with both values of PipelineStart.
READ_PIPELINE = [READ_PARAMETERS, ("sagemaker:ListPipelineExecutions", PIPELINE), ("sagemaker:DescribeModelCard", f"{SAGEMAKER}:model-card/churn"),
                 ("cloudwatch:DescribeAlarms", "*"), ("sagemaker:DescribePipelineExecution", f"{PIPELINE}/execution/abcdefghijkl")]
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:retrain"
MACHINE_START = [("states:StartExecution", MACHINE),
                 ("states:DescribeExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:retrain:driftwarden-1")]
OTHER_START = [("sagemaker:StartPipelineExecution", f"{SAGEMAKER}:pipeline/retrain-credit"),
               ("sagemaker:ListPipelineExecutions", f"{SAGEMAKER}:pipeline/retrain-credit")]

# If policy.toml is invalid, functions read its newest valid version.
AUDIT = ("s3:PutObject", f"{STATE}/audit/churn/churn-1/decision-churn-1-1.json")
FLEET = [("s3:GetObject", f"{STATE}/fleet.json"), ("s3:PutObject", f"{STATE}/fleet.json")]
VERSIONS = [("s3:ListBucketVersions", STATE), ("s3:GetObjectVersion", f"{STATE}/policy.toml")]

# Calls of every function that are allowed with all parameters.
ALLOWED = {
    "IngestRole": [
        ("s3:GetObject", REPORT), ("s3:GetObject", REPORT_BYOC), ("s3:ListBucket", REPORTS), ("s3:ListBucket", STATE),
        ("s3:GetObject", f"{STATE}/monitors/churn-quality.json"), ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"),
        ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}),
        ("events:PutEvents", BUS, event("Model Monitor Alert State Change")),
        ("events:PutEvents", BUS, event("Model Monitor Health State Change")),
        ("sagemaker:DescribeProcessingJob", f"{SAGEMAKER}:processing-job/model-quality-monitoring-1"), ALERTS,
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("ingest")), ("logs:PutLogEvents", logs("ingest")),
    ],
    "RemediateRole": [
        ("s3:ListBucket", STATE), ("s3:GetObject", f"{STATE}/models/churn.json"),
        ("s3:PutObject", f"{STATE}/models/churn.json"), AUDIT, ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        ("s3:GetObject", f"{STATE}/pause.json"), *FLEET, ("s3:GetObject", f"{STATE}/monitors/churn-quality.json"),
        ("events:PutEvents", BUS, event("Remediation Decided")),
        ("events:PutEvents", BUS, event("Retraining Pipeline Execution Status Change")),
        ("events:PutEvents", BUS, event("Remediation Incident Closed")),
        ("events:PutEvents", BUS, event("Model Monitor Health State Change")), *READ_PIPELINE,
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("remediate")), ("logs:PutLogEvents", logs("remediate")),
    ],
    "OperatorRole": [
        ("s3:ListBucket", STATE), ("s3:GetObject", f"{STATE}/models/churn.json"),
        ("s3:PutObject", f"{STATE}/models/churn.json"), AUDIT, ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        ("s3:GetObject", f"{STATE}/pause.json"), ("s3:GetObject", f"{STATE}/experiments/churn.json"),
        ("s3:GetObject", f"{STATE}/monitors/churn-quality.json"),
        *(("events:PutEvents", BUS, event(detail_type, source="driftwarden.operator")) for detail_type in (
            "Experiment Command", "Monitor Datapoint Drop")),
        *(("events:PutEvents", BUS, event(detail_type)) for detail_type in (
            "Operator Command Accepted", "Remediation Decided", "Retraining Pipeline Execution Status Change", "Remediation Incident Closed",
            "Model Monitor Health State Change")),
        *READ_PIPELINE, ("logs:CreateLogStream", logs("operator")), ("logs:PutLogEvents", logs("operator")),
    ],
    "SweepRole": [
        ("s3:GetObject", REPORT), ("s3:GetObject", REPORT_BYOC), ("s3:ListBucket", REPORTS), ("s3:ListBucket", STATE),
        ("s3:GetObject", f"{STATE}/monitors/churn-quality.json"), ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"),
        ("s3:GetObject", f"{STATE}/models/churn.json"), ("s3:PutObject", f"{STATE}/models/churn.json"), AUDIT,
        ("s3:GetObject", f"{STATE}/experiments/churn.json"), ("s3:GetObject", f"{STATE}/baselines/churn-quality.json"),
        ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS, ("s3:GetObject", f"{STATE}/pause.json"), *FLEET,
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}),
        *(("events:PutEvents", BUS, event(detail_type)) for detail_type in (
            "Model Monitor Alert State Change", "Model Monitor Level Change", "Model Monitor Health State Change",
            "Remediation Decided",
            "Retraining Pipeline Execution Status Change", "Remediation Incident Closed")),
        ("sagemaker:DescribeProcessingJob", f"{SAGEMAKER}:processing-job/model-quality-monitoring-1"), ALERTS,
        ("sagemaker:DescribeMonitoringSchedule", SCHEDULE), ("sagemaker:ListMonitoringSchedules", "*"),
        ("sagemaker:ListMonitoringExecutions", "*"), *READ_PIPELINE,
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("sweep")), ("logs:PutLogEvents", logs("sweep")),
    ],
    "AnalyzeRole": [
        ("s3:GetObject", f"{REPORTS}/capture/churn/AllTraffic/2026/11/23/08/1.jsonl"), ("s3:GetObject", f"{REPORTS}/baselines/churn/statistics.json"),
        ("s3:ListBucket", REPORTS), ("s3:ListBucket", STATE), ("s3:PutObject", REPORT),
        *(("s3:PutObject", f"{REPORTS}/reports/churn/churn-quality/2026/11/23/08/{name}.json")
          for name in ("statistics", "constraints", "drift", "analysis", "segments", "estimate", "intervals", "attribution_drift")),
        *(("s3:PutObject", f"{REPORTS}/baselines/churn/7/churn-quality/{name}.json", NEW) for name in ("analysis_config", "calibration")),
        ("s3:GetObject", f"{STATE}/baselines/churn-quality.json"),
        *((action, f"{STATE}/{key}") for action in ("s3:GetObject", "s3:PutObject") for key in ("analyses/churn-quality.json", "partials/run/1.json")),
        ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "aws/sagemaker/Endpoints/data-metrics"}),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "aws/sagemaker/ModelMonitoring/bias-metrics"}),
        *(("events:PutEvents", BUS, event(detail_type)) for detail_type in (
            "Monitoring Execution Requested", "Monitoring Execution State Change", "Model Baselines Created")),
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("analyze")), ("logs:PutLogEvents", logs("analyze")),
    ],
    "PromoteRole": [
        ("s3:GetObject", f"{REPORTS}/capture/churn/AllTraffic/2026/11/23/08/1.jsonl"), ("s3:ListBucket", REPORTS), ("s3:ListBucket", STATE),
        *((action, f"{STATE}/{key}") for action in ("s3:GetObject", "s3:PutObject") for key in ("experiments/churn.json", "baselines/churn-quality.json")),
        ("s3:GetObject", f"{STATE}/models/churn.json"), AUDIT, ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        *(("events:PutEvents", BUS, event(detail_type)) for detail_type in (
            "Experiment State Change", "Model Baselines Requested", "Monitor Baseline Change")),
        ("cloudwatch:GetMetricData", "*"), ("sagemaker:ListMonitoringSchedules", "*"), ("sagemaker:ListModelPackages", "*"),
        ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/churn"), ("sagemaker:DescribeEndpointConfig", f"{SAGEMAKER}:endpoint-config/churn"),
        ("sagemaker:DescribeModel", f"{SAGEMAKER}:model/churn"), ("sagemaker:DescribeModelPackage", f"{SAGEMAKER}:model-package/churn/7"),
        ("sagemaker:DescribeMonitoringSchedule", SCHEDULE),
        *((f"sagemaker:Describe{kind}JobDefinition", f"{SAGEMAKER}:{name}-job-definition/churn") for kind, name in JOB_DEFINITIONS),
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("promote")), ("logs:PutLogEvents", logs("promote")),
    ],
    "DashboardRole": [
        *(("s3:GetObject", f"{REPORTS}/reports/churn/churn-quality/2026/11/23/08/{name}.json")
          for name in ("statistics", "analysis", "drift", "attribution_drift")),
        ("s3:ListBucket", REPORTS), ("s3:ListBucket", STATE),
        *(("s3:GetObject", f"{STATE}/{key}.json") for key in ("monitors/churn-quality", "models/churn", "experiments/churn", "baselines/churn-quality")),
        *((action, f"{STATE}/dashboard/index.html") for action in ("s3:GetObject", "s3:PutObject")),
        *((action, f"{STATE}/dirty/2026-11-23T02:00:00.000Z/e1/churn") for action in ("s3:PutObject", "s3:DeleteObject")),
        ("s3:GetObject", f"{STATE}/policy.toml"), *VERSIONS,
        *((action, "*") for action in ("cloudwatch:GetMetricData", "sagemaker:ListMonitoringSchedules", "sagemaker:ListTransformJobs",
                                        "sagemaker:ListArtifacts", "sagemaker:ListContexts", "sagemaker:QueryLineage")),
        ("sagemaker:DescribeArtifact", f"{SAGEMAKER}:artifact/0"), ("sagemaker:DescribeContext", f"{SAGEMAKER}:context/0"),
        ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/churn"), ("sagemaker:DescribeEndpointConfig", f"{SAGEMAKER}:endpoint-config/churn"),
        ("sagemaker:DescribeModel", f"{SAGEMAKER}:model/churn"), ("sagemaker:DescribeModelCard", f"{SAGEMAKER}:model-card/churn"),
        ("sagemaker:DescribeMonitoringSchedule", SCHEDULE),
        *((f"sagemaker:Describe{kind}JobDefinition", f"{SAGEMAKER}:{name}-job-definition/churn") for kind, name in JOB_DEFINITIONS),
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("dashboard")), ("logs:PutLogEvents", logs("dashboard")),
    ],
    "AnalyzeStateMachineRole": [
        ("lambda:InvokeFunction", ANALYZE), ("s3:ListBucket", REPORTS),
        ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-analyze"),
        ("states:DescribeExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{STACK}-analyze/Profile:1"),
    ],
    "NotifyRole": [
        ("s3:ListBucket", STATE), ("s3:GetObject", f"{STATE}/notifications/1.json"),
        ("s3:PutObject", f"{STATE}/notifications/1.json"), ("sns:Publish", TOPIC), ("s3:GetObject", f"{STATE}/policy.toml"),
        ("s3:GetObjectVersion", f"{STATE}/policy.toml"), ("s3:ListBucketVersions", STATE),
        ("s3:GetObject", f"{STATE}/notification-templates/alert.txt"),
        ("sqs:SendMessage", QUEUE), ("logs:CreateLogStream", logs("notify")), ("logs:PutLogEvents", logs("notify")),
    ],
}
# Additional calls of notify with topics and secrets in the parameters.
NOTIFIES = [
    ("sns:Publish", TOPIC + "-ml-team"), ("ssm:GetParameter", PARAMETER + "driftwarden/webhook"),
    ("ssm:GetParameter", PARAMETER + "aws/reference/secretsmanager/driftwarden/pagerduty"),
    ("secretsmanager:GetSecretValue", SECRET + "driftwarden/pagerduty-AbCdEf"),
    ("secretsmanager:DescribeSecret", SECRET + "driftwarden/pagerduty-AbCdEf"),
]
TRACE = ("xray:PutTraceSegments", "*")
# Additional calls of promote with endpoints in the parameters.
PROMOTES = [
    ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint/churn-2"), ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint-config/churn"),
    ("sagemaker:UpdateEndpointWeightsAndCapacities", f"{SAGEMAKER}:endpoint/churn-2"),
    ("sagemaker:CreateModel", f"{SAGEMAKER}:model/driftwarden-churn-0a1b2c3d"), ("sagemaker:DeleteModel", f"{SAGEMAKER}:model/driftwarden-churn-0a1b2c3d"),
    ("sagemaker:CreateEndpointConfig", f"{SAGEMAKER}:endpoint-config/driftwarden-churn-0a1b2c3d-test"), ("sagemaker:CreateEndpointConfig", f"{SAGEMAKER}:model/churn"),
    ("sagemaker:DeleteEndpointConfig", f"{SAGEMAKER}:endpoint-config/driftwarden-churn-0a1b2c3d-test"), ("sagemaker:UpdateMonitoringSchedule", SCHEDULE),
    *((f"sagemaker:Create{kind}JobDefinition", f"{SAGEMAKER}:{name}-job-definition/churn-dw0a1b2c3d") for kind, name in JOB_DEFINITIONS),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/model", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
]

# Calls that are denied to every function.
FOR_ALL = [
    ("s3:DeleteObject", f"{STATE}/monitors/churn-quality.json"), ("s3:DeleteObject", f"{STATE}/models/churn.json"),
    ("s3:DeleteObjectVersion", f"{STATE}/models/churn.json"), ("s3:PutObject", f"{STATE}/policy.toml"),
    AUDIT, *(("s3:" + action, AUDIT[1]) for action in ("DeleteObject", "DeleteObjectVersion")),
    ("s3:PutObject", f"{STATE}/pause.json"), ("s3:PutBucketPolicy", STATE), ("s3:GetObjectVersion", f"{STATE}/models/churn.json"), ("s3:PutObject", REPORT), ("s3:DeleteObject", REPORT),
    ("s3:GetObject", "arn:aws:s3:::other/monitors/x.json"), ("s3:ListBucket", "arn:aws:s3:::other"),
    ("s3:ListAllMyBuckets", "*"), ("events:PutRule", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{STACK}/x"),
    ("events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default", event("Remediation Decided")),
    ("sqs:ReceiveMessage", QUEUE), ("sqs:DeleteMessage", QUEUE), ("sqs:SendMessage", QUEUE + "-other"),
    ("sns:Publish", TOPIC + "-other"), ("sns:Subscribe", TOPIC),
    ("sagemaker:StartPipelineExecution", f"{SAGEMAKER}:pipeline/other"), ("sagemaker:UpdatePipeline", PIPELINE),
    ("sagemaker:DeleteEndpoint", f"{SAGEMAKER}:endpoint/churn"), ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/x"),
    ("logs:CreateLogGroup", logs("x")), ("logs:PutLogEvents", logs("other")), ("lambda:InvokeFunction", "*"),
    ("kms:Decrypt", KEY), ("kms:ScheduleKeyDeletion", KEY),
]
DENIED = {
    "IngestRole": FOR_ALL + [
        START, READ_PARAMETERS, ("s3:GetObject", f"{REPORTS}/churn/data-capture/1.jsonl"), ("s3:GetObject", f"{STATE}/models/churn.json"),
        ("s3:PutObject", f"{STATE}/notifications/1.json"), ("sns:Publish", TOPIC),
        ("logs:PutLogEvents", logs("notify")),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Other"}),
        ("events:PutEvents", BUS, event("Remediation Decided")),
        ("events:PutEvents", BUS, event("Model Monitor Alert State Change", source="other")),
        ("kms:Decrypt", KEY, via("ec2")),
    ],
    "RemediateRole": FOR_ALL + [
        ("s3:GetObject", REPORT), ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"), ("s3:ListBucket", REPORTS),
        ("sns:Publish", TOPIC), ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}),
        ("sagemaker:DescribeProcessingJob", f"{SAGEMAKER}:processing-job/x"), ("sagemaker:StopPipelineExecution", PIPELINE),
        ("events:PutEvents", BUS, event("Model Monitor Alert State Change")),
        ("sagemaker:ListMonitoringSchedules", "*"), ("sagemaker:UpdateModelCard", f"{SAGEMAKER}:model-card/churn"),
        ("states:StopExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:retrain:driftwarden-1"),
    ],
    "OperatorRole": FOR_ALL + [
        ("s3:GetObject", REPORT), ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"), ("s3:ListBucket", REPORTS),
        ("s3:PutObject", f"{STATE}/experiments/churn.json"), ("sqs:SendMessage", QUEUE), ("sns:Publish", TOPIC),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}), ("logs:PutLogEvents", logs("remediate")),
        ("sagemaker:StopPipelineExecution", PIPELINE), ("sagemaker:UpdateModelCard", f"{SAGEMAKER}:model-card/churn"),
        ("events:PutEvents", BUS, event("Model Monitor Alert State Change")),
        ("events:PutEvents", BUS, event("Operator Command Accepted", source="driftwarden.operator")),
        ("events:PutEvents", BUS, event("Experiment Command")), ("events:PutEvents", BUS, event("Monitor Datapoint Drop")),
        ("events:PutEvents", BUS, event("Retraining Status Reported", source="driftwarden.pipeline")),
        ("kms:GenerateDataKey", KEY, via("sqs")),
    ],
    "SweepRole": FOR_ALL + [
        ("s3:GetObject", f"{REPORTS}/churn/data-capture/1.jsonl"), ("s3:PutObject", f"{STATE}/notifications/1.json"),
        ("s3:PutObject", f"{STATE}/baselines/churn-quality.json"),
        ("sns:Publish", TOPIC), ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Other"}),
        ("sagemaker:UpdateMonitoringAlert", SCHEDULE), ("sagemaker:StopMonitoringSchedule", SCHEDULE),
        ("sagemaker:StopPipelineExecution", PIPELINE),
        ("events:PutEvents", BUS, event("Remediation Approval", source="driftwarden.operator")),
    ],
    "AnalyzeRole": [denied for denied in FOR_ALL if denied != ("s3:PutObject", REPORT)] + [
        START, READ_PARAMETERS, ("s3:PutObject", f"{REPORTS}/capture/churn/1.jsonl"), ("s3:PutObject", f"{REPORTS}/baselines/churn/data.csv"),
        ("s3:PutObject", f"{REPORTS}/baselines/churn/analysis_config.json"), ("s3:PutObject", f"{STATE}/baselines/churn-quality.json"),
        ("s3:PutObject", "arn:aws:s3:::data/baselines/churn/constraints.json", NEW),
        ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"), ("s3:GetObject", f"{STATE}/models/churn.json"), ("sns:Publish", TOPIC),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}),
        ("events:PutEvents", BUS, event("Remediation Decided")), ("s3:GetObject", "arn:aws:s3:::data/1.csv"),
        ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-analyze"),
        ("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/other"),
    ],
    "PromoteRole": FOR_ALL + [
        START, READ_PARAMETERS, *PROMOTES, ("s3:PutObject", f"{STATE}/models/churn.json"), ("s3:GetObject", f"{STATE}/monitors/churn-quality.json"),
        ("s3:PutObject", f"{REPORTS}/baselines/churn/statistics.json"), ("sns:Publish", TOPIC), ("s3:GetObject", "arn:aws:s3:::data/1.csv"),
        ("events:PutEvents", BUS, event("Remediation Decided")), ("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/churn"),
        ("sagemaker:UpdateModelPackage", f"{SAGEMAKER}:model-package/churn/7"), ("sagemaker:DeleteModel", f"{SAGEMAKER}:model/churn"),
        ("sagemaker:DeleteEndpointConfig", f"{SAGEMAKER}:endpoint-config/churn"), ("sagemaker:CreateEndpoint", f"{SAGEMAKER}:endpoint/churn"),
    ],
    "DashboardRole": FOR_ALL + [
        START, READ_PARAMETERS, *PROMOTES, ("s3:GetObject", REPORT), ("s3:GetObject", "arn:aws:s3:::data/1.csv"),
        ("s3:GetObject", f"{REPORTS}/capture/churn/AllTraffic/2026/11/23/08/1.jsonl"), ("s3:PutObject", f"{STATE}/models/churn.json"),
        ("s3:PutObject", f"{STATE}/monitors/churn-quality.json"), ("s3:PutObject", REPORT), ("sns:Publish", TOPIC),
        ("events:PutEvents", BUS, event("Remediation Decided")), ("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/churn"),
        ("s3:DeleteObject", f"{STATE}/dashboard/index.html"),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Driftwarden"}),
    ],
    "AnalyzeStateMachineRole": [denied for denied in FOR_ALL if denied[0] != "lambda:InvokeFunction"] + [
        ("lambda:InvokeFunction", ANALYZE + "-other"), ("s3:GetObject", REPORT), ("s3:ListBucket", STATE), *MACHINE_START,
    ],
    "NotifyRole": FOR_ALL + [
        START, READ_PARAMETERS, ("s3:GetObject", REPORT), ("s3:ListBucket", REPORTS), ("s3:PutObject", f"{STATE}/notification-templates/alert.txt"),
        ("s3:GetObject", f"{STATE}/models/churn.json"), ("events:PutEvents", BUS, event("Remediation Decided")),
        ("secretsmanager:GetSecretValue", SECRET + "other-AbCdEf"), ("ssm:GetParameter", PARAMETER + "other"),
        ("secretsmanager:PutSecretValue", SECRET + "driftwarden/webhook-AbCdEf"), ("ssm:PutParameter", PARAMETER + "driftwarden/webhook"),
    ],
    "StartPipelineRole": FOR_ALL + [READ_PARAMETERS, *MACHINE_START, ("s3:GetObject", f"{STATE}/policy.toml"), ("sns:Publish", TOPIC)],
}
BASE = {"ReportBucketName": "reports", "RetrainingPipelineName": "churn"}
S3_KEY = [("kms:Decrypt", KEY, via("s3")), ("kms:GenerateDataKey", KEY, via("s3")), ("kms:GenerateDataKey", KEY, via("sqs"))]
# Deployments: parameters, then additional allowed and denied calls by role.
DEPLOYMENTS = {
    "by remediate": (BASE, {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START]}, {
        "RemediateRole": [TRACE, *MACHINE_START, *OTHER_START], "IngestRole": [TRACE, *S3_KEY], "NotifyRole": [TRACE, *S3_KEY, *NOTIFIES],
        "OperatorRole": [TRACE, *S3_KEY, *MACHINE_START, *OTHER_START], "SweepRole": [TRACE, *S3_KEY, *MACHINE_START, *OTHER_START]}),
    "by rule": (BASE | {"PipelineStart": "rule"}, {"StartPipelineRole": [START]},
                {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START]}),
    "with a state machine and more pipelines": (
        BASE | {"RetrainingStateMachineArn": MACHINE, "RetrainingPipelinePattern": "retrain-*"},
        {"RemediateRole": [START, *MACHINE_START, *OTHER_START], "OperatorRole": [START, *MACHINE_START, *OTHER_START], "SweepRole": [START, *MACHINE_START, *OTHER_START]}, {}),
    "with capital letters in the pipeline name": (
        BASE | {"RetrainingPipelineName": "Churn", "RetrainingPipelineArn": PIPELINE},
        {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START]}, {}),
    "with a data bucket": (
        BASE | {"DataBucketName": "data"},
        {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START], "AnalyzeStateMachineRole": [("s3:ListBucket", "arn:aws:s3:::data")],
         "AnalyzeRole": [("s3:GetObject", "arn:aws:s3:::data/1.csv"), ("s3:ListBucket", "arn:aws:s3:::data"),
                         *(("s3:PutObject", f"arn:aws:s3:::data/baselines/churn/{name}.json", NEW) for name in BASELINE_FILES)],
         "PromoteRole": [("s3:GetObject", "arn:aws:s3:::data/1.csv"), ("s3:ListBucket", "arn:aws:s3:::data")],
         "DashboardRole": [("s3:GetObject", "arn:aws:s3:::data/baselines/statistics.json"), ("s3:ListBucket", "arn:aws:s3:::data")]},
        {"AnalyzeRole": [*(("s3:PutObject", f"arn:aws:s3:::data/baselines/churn/{name}.json") for name in BASELINE_FILES),
                         ("s3:PutObject", "arn:aws:s3:::data/training/7.csv", NEW)]}),
    "with endpoints to explain": (
        BASE | {"ExplainedEndpointPattern": "churn*"},
        {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START], "AnalyzeRole": [("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/churn-2")]},
        {"AnalyzeRole": [("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/fraud")]}),
    "with endpoints to promote on": (
        BASE | {"PromotedEndpointPattern": "churn*", "PassedRoleArns": f"arn:aws:iam::{ACCOUNT}:role/other,arn:aws:iam::{ACCOUNT}:role/model"},
        {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START], "PromoteRole": PROMOTES},
        {"PromoteRole": [("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint/fraud"), ("sagemaker:CreateModel", f"{SAGEMAKER}:model/churn"),
                         ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/model", {"iam:PassedToService": "ec2.amazonaws.com"})]}),
    "with notification topics and secrets": (
        BASE | {"NotificationTopicArns": f"{TOPIC}-ml-team,{TOPIC}-chat", "NotificationSecretPattern": "driftwarden/*"},
        {"RemediateRole": [START], "OperatorRole": [START], "SweepRole": [START], "NotifyRole": NOTIFIES}, {}),
    "with keys and traces": (
        BASE | {"KmsKeyArn": KEY, "ReportBucketKmsKeyArn": REPORT_KEY, "Tracing": "Active"},
        {"IngestRole": [*S3_KEY, ("kms:Decrypt", REPORT_KEY, via("s3")), TRACE], "RemediateRole": [START, *S3_KEY, TRACE],
         "NotifyRole": [*S3_KEY, ("kms:GenerateDataKey", KEY, via("sns")), ("kms:Decrypt", KEY, via("ssm")),
                        ("kms:Decrypt", KEY, via("secretsmanager")), TRACE],
         "OperatorRole": [START, ("kms:Decrypt", KEY, via("s3")), ("kms:GenerateDataKey", KEY, via("s3")), TRACE],
         "SweepRole": [START, *S3_KEY, ("kms:Decrypt", REPORT_KEY, via("s3")), TRACE], "AnalyzeStateMachineRole": [TRACE],
         "PromoteRole": [*S3_KEY, ("kms:Decrypt", REPORT_KEY, via("s3")), TRACE],
         "DashboardRole": [*S3_KEY, ("kms:Decrypt", REPORT_KEY, via("s3")), TRACE],
         "AnalyzeRole": [*S3_KEY, ("kms:Decrypt", REPORT_KEY, via("s3")), ("kms:GenerateDataKey", REPORT_KEY, via("s3")), TRACE]},
        {"IngestRole": [("kms:GenerateDataKey", REPORT_KEY, via("s3"))], "PromoteRole": [("kms:GenerateDataKey", REPORT_KEY, via("s3"))], "RemediateRole": [("kms:Decrypt", REPORT_KEY, via("s3"))]}),
}

# --- Policies for people ---------------------------------------------------------------------------------------------

IAM = TEMPLATE.with_name("iam")
PLACEHOLDERS = {"REGION": REGION, "ACCOUNT_ID": ACCOUNT, "STACK_NAME": STACK,
                "STATE_BUCKET": "state", "REPORT_BUCKET": "reports", "DATA_BUCKET": "data"}
# With these values, a policy must fit into a managed policy: the longest names of a region and of buckets.
LONGEST = PLACEHOLDERS | {"REGION": "ap-southeast-1"} | dict.fromkeys(("STATE_BUCKET", "REPORT_BUCKET", "DATA_BUCKET"), "b" * 63)
MAX_MANAGED_POLICY_CHARS = 6144
DATA = "arn:aws:s3:::data"
# Generated names.
STACK_BUCKET, SAM_BUCKET = f"arn:aws:s3:::{STACK}-statebucket-0a1b2c3d", "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-0a1b2c3d"
STACK_QUEUE, STACK_TOPIC = (f"arn:aws:{service}:{REGION}:{ACCOUNT}:{STACK}-{name}-0a1b2c3d" for service, name in (
    ("sqs", "DeadLetterQueue"), ("sns", "Topic")))
RULES = [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}-0a1b2c3d" for name in (f"{STACK}-ReportRule", f"{STACK}/{STACK}-RetrainingStatusRule")]
SAM_STACK = "aws-sam-cli-managed-default"


def calls(resource, service, actions):
    """Calls of several actions of a service, separated by spaces, on one resource."""
    return [(f"{service}:{action}", resource) for action in actions.split()]


def stack(name):
    """ARN of a stack."""
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/0a1b2c3d"


def function(name):
    """ARN of a function."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def role(name):
    """ARN of a role."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def pass_role(name, service):
    """The call that gives a role to a service."""
    return "iam:PassRole", role(name), {"iam:PassedToService": f"{service}.amazonaws.com"}


def send(detail_type, bus=BUS, source="driftwarden.operator"):
    """The call that sends an event of an operator."""
    return "events:PutEvents", bus, event(detail_type, source)


def command(name):
    """The calls of a signed request to the URL of a function (Lambda developer guide, page `urls-auth`)."""
    return [("lambda:InvokeFunctionUrl", function(f"{STACK}-{name}"), {"lambda:FunctionUrlAuthType": "AWS_IAM"}),
            ("lambda:InvokeFunction", function(f"{STACK}-{name}"), {"lambda:InvokedViaFunctionUrl": "true"})]


# Calls that name caller and time themselves: invocations of the functions that take commands, outside their URLs.
FORGED = [("lambda:InvokeFunction", function(f"{STACK}-{name}"), *context) for name in ("operator", "operator-approve", "operator:$LATEST")
          for context in ((), ({"lambda:InvokedViaFunctionUrl": "false"},))]


FIND = ("cloudformation:DescribeStacks", stack(STACK))
# What CloudFormation's resource handlers call with the permissions of the deployer: the permissions in the schemas of the resource
# types, for the properties that template.yaml sets and for tags.
HANDLERS = [
    *(call for bucket in (STACK_BUCKET, SAM_BUCKET) for call in calls(bucket, "s3", (
        "CreateBucket DeleteBucket ListBucket GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketTagging PutBucketTagging "
        "GetBucketVersioning PutBucketVersioning GetEncryptionConfiguration PutEncryptionConfiguration GetBucketAcl "
        "GetBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketOwnershipControls PutBucketOwnershipControls "
        "GetLifecycleConfiguration PutLifecycleConfiguration"))),
    *calls(function(f"{STACK}-ingest"), "lambda", (
        "CreateFunction DeleteFunction GetFunction GetFunctionCodeSigningConfig GetFunctionRecursionConfig GetRuntimeManagementConfig "
        "UpdateFunctionCode UpdateFunctionConfiguration ListTags TagResource UntagResource AddPermission RemovePermission GetPolicy "
        "PutFunctionEventInvokeConfig GetFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig "
        "CreateFunctionUrlConfig GetFunctionUrlConfig UpdateFunctionUrlConfig DeleteFunctionUrlConfig")),
    *calls(role(f"{STACK}-RemediateRole-0a1b2c3d"), "iam", (
        "CreateRole DeleteRole GetRole UpdateRole UpdateAssumeRolePolicy TagRole UntagRole PutRolePolicy GetRolePolicy DeleteRolePolicy "
        "ListRolePolicies AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies")),
    *calls(f"arn:aws:iam::{ACCOUNT}:policy/{STACK}-RetrainingPolicy-0a1b2c3d", "iam", (
        "CreatePolicy DeletePolicy GetPolicy CreatePolicyVersion DeletePolicyVersion GetPolicyVersion ListPolicyVersions "
        "ListEntitiesForPolicy")),
    pass_role(f"{STACK}-IngestRole-0a1b2c3d", "lambda"), pass_role(f"{STACK}-AnalyzeStateMachineRole-0a1b2c3d", "states"),
    pass_role(f"{STACK}-StartPipelineRole-0a1b2c3d", "events"),
    *calls(BUS, "events", "CreateEventBus DeleteEventBus DescribeEventBus UpdateEventBus PutPermission RemovePermission ListTagsForResource TagResource UntagResource CreateArchive"),
    *calls(f"arn:aws:events:{REGION}:{ACCOUNT}:archive/EventArchive-0a1b2c3d", "events", (
        "CreateArchive DeleteArchive DescribeArchive UpdateArchive")),
    *(call for rule in RULES for call in calls(rule, "events", (
        "PutRule DeleteRule DescribeRule PutTargets RemoveTargets ListTargetsByRule ListTagsForResource TagResource UntagResource"))),
    *calls(STACK_QUEUE, "sqs", (
        "CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl SetQueueAttributes ListQueueTags TagQueue UntagQueue")),
    *calls(STACK_TOPIC, "sns", (
        "CreateTopic DeleteTopic GetTopicAttributes SetTopicAttributes GetDataProtectionPolicy ListSubscriptionsByTopic Subscribe "
        "ListTagsForResource TagResource UntagResource")),
    *calls(f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-analyze", "states", (
        "CreateStateMachine DeleteStateMachine DescribeStateMachine UpdateStateMachine ListTagsForResource TagResource UntagResource")),
    *calls(f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{STACK}-ingest-errors", "cloudwatch", (
        "PutMetricAlarm DeleteAlarms ListTagsForResource TagResource UntagResource")),
    *calls(f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{STACK}-{REGION}", "cloudwatch", (
        "PutDashboard GetDashboard DeleteDashboards ListTagsForResource TagResource UntagResource")),
    *calls(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{STACK}-ingest", "logs", (
        "CreateLogGroup DeleteLogGroup PutRetentionPolicy AssociateKmsKey DisassociateKmsKey GetDataProtectionPolicy ListTagsForResource "
        "TagResource UntagResource")),
    # Calls without a resource.
    *calls("*", "sns", "GetSubscriptionAttributes Unsubscribe"), ("cloudwatch:DescribeAlarms", "*"),
    *calls("*", "logs", "DescribeLogGroups PutQueryDefinition DeleteQueryDefinition DescribeQueryDefinitions"),
]
# State documents that an operator writes only to restore an earlier version.
RESTORED = [f"{STATE}/{folder}/churn.json" for folder in ("monitors", "models", "experiments", "baselines", "analyses", "notifications")]
PUBLISHED = [f"{STATE}/{key}" for key in ("policy.toml", "pause.json", "fleet.json", "notification-templates/alert.txt")]
DOCTOR_REPORTS = [f"{REPORTS}/{prefix}driftwarden-doctor/driftwarden-doctor/2026/11/23/08/constraint_violations.json" for prefix in ("", "monitoring/")]
# Calls that are denied to operators and approvers.
FOR_PEOPLE = [
    *calls(stack(STACK), "cloudformation", "UpdateStack CreateChangeSet ExecuteChangeSet DeleteStack"),
    *((action, key) for action in ("s3:DeleteObject", "s3:DeleteObjectVersion") for key in (*RESTORED, *PUBLISHED)),
    *calls(STATE, "s3", "PutBucketPolicy DeleteBucketPolicy PutBucketVersioning PutLifecycleConfiguration DeleteBucket"),
    AUDIT, *(("s3:" + action, AUDIT[1]) for action in ("DeleteObject", "DeleteObjectVersion")),
    ("s3:PutObject", f"{STATE}/dashboard/index.html"), ("s3:PutObject", REPORT), ("s3:DeleteObject", REPORT),
    ("s3:PutObject", f"{DATA}/training/7.csv"), ("s3:PutBucketNotification", REPORTS), ("s3:ListAllMyBuckets", "*"),
    *calls("arn:aws:s3:::other/models/churn.json", "s3", "GetObject PutObject"), ("s3:ListBucket", "arn:aws:s3:::other"),
    *(send(detail_type, source=source) for source in ("driftwarden", "driftwarden.operator", "driftwarden.pipeline") for detail_type in (
        "Remediation Approval", "Remediation Resolution", "Remediation Pause", "Retraining Status Reported", "Experiment Outcomes Reported",
        "Experiment Command", "Monitor Datapoint Drop", "Remediation Decided", "Operator Command Accepted")), *FORGED, *command("remediate")[:1], *((f"events:{action}", rule) for action in ("PutRule", "DisableRule") for rule in RULES),
    *calls(STACK_QUEUE, "sqs", "SendMessage PurgeQueue DeleteQueue"), ("sqs:ReceiveMessage", QUEUE),
    *calls(STACK_TOPIC, "sns", "Publish Subscribe SetTopicAttributes"),
    *calls(function(f"{STACK}-remediate"), "lambda", "UpdateFunctionCode UpdateFunctionConfiguration DeleteFunction GetFunction"),
    ("lambda:InvokeFunction", function("other")), ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-analyze"),
    *calls(role(f"{STACK}-IngestRole-0a1b2c3d"), "iam", "CreateRole PutRolePolicy AttachRolePolicy"), ("iam:CreatePolicyVersion", "*"),
    pass_role(f"{STACK}-IngestRole-0a1b2c3d", "lambda"), START, ("sagemaker:StopPipelineExecution", f"{PIPELINE}/execution/abcdefghijkl"),
    *calls(f"{SAGEMAKER}:endpoint/churn", "sagemaker", "InvokeEndpoint UpdateEndpoint UpdateEndpointWeightsAndCapacities DeleteEndpoint"),
    *calls(SCHEDULE, "sagemaker", "UpdateMonitoringSchedule StopMonitoringSchedule DeleteMonitoringSchedule"),
    ("sagemaker:UpdateModelPackage", f"{SAGEMAKER}:model-package/churn/7"), ("secretsmanager:GetSecretValue", SECRET + "driftwarden/pagerduty-AbCdEf"),
    ("ssm:GetParameter", PARAMETER + "driftwarden/webhook"), ("kms:Decrypt", KEY),
    ("logs:FilterLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/other-ingest:{STREAM}"),
]
# Allowed and denied calls of the policies in infra/iam.
PEOPLE = {
    "deployer": ([
        # `sam deploy`, which first creates its own stack with a bucket. CloudFormation and Lambda read the uploads.
        *(call for name in (SAM_STACK, STACK) for call in calls(stack(name), "cloudformation", (
            "DescribeStacks CreateChangeSet DescribeChangeSet ExecuteChangeSet TagResource"))),
        ("cloudformation:CreateChangeSet", f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31"),
        *calls(stack(STACK), "cloudformation", "GetTemplateSummary DescribeStackEvents"),
        *calls(f"{SAM_BUCKET}/driftwarden/0a1b2c3d", "s3", "GetObject PutObject AbortMultipartUpload"),
        # `sam delete`, which looks for two more stacks, and deletes the uploads.
        *calls(stack(STACK), "cloudformation", "GetTemplate ListChangeSets DeleteStack"),
        *(("cloudformation:DescribeStacks", stack(f"{STACK}-0a1b2c3d-{name}")) for name in ("CompanionStack", "WebFunctionCode")),
        ("s3:ListBucket", SAM_BUCKET), ("s3:DeleteObject", f"{SAM_BUCKET}/driftwarden/0a1b2c3d"),
        *calls(REPORTS, "s3", "GetBucketNotification PutBucketNotification"), *HANDLERS,
    ], [
        *(call for name in ("other", f"{STACK}2", f"{STACK}-2") for call in calls(stack(name), "cloudformation", (
            "DescribeStacks GetTemplate CreateChangeSet ExecuteChangeSet DeleteStack"))),
        *calls(stack(f"{STACK}-0a1b2c3d-CompanionStack"), "cloudformation", "CreateChangeSet DeleteStack"),
        # The same calls on resources of another name.
        *((call[0], re.sub(f"{STACK}|aws-sam-cli-managed", "other", call[1]), *call[2:]) for call in HANDLERS
          if call[1] != "*" and ":archive/" not in call[1]),
        *((f"s3:{action}", f"{STACK_BUCKET}/{key}") for key in ("policy.toml", "models/churn.json") for action in (
            "GetObject", "GetObjectVersion", "PutObject", "DeleteObject", "DeleteObjectVersion")),
        *calls(REPORT, "s3", "GetObject PutObject DeleteObject"), *calls(REPORTS, "s3", "ListBucket PutBucketPolicy DeleteBucket"),
        ("s3:PutBucketNotification", DATA), ("s3:ListAllMyBuckets", "*"), pass_role("other", "lambda"), pass_role(f"{STACK}-IngestRole-0a1b2c3d", "ec2"),
        ("iam:PassRole", role(f"{STACK}-IngestRole-0a1b2c3d")), ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/{STACK}-user"),
        ("iam:AttachUserPolicy", f"arn:aws:iam::{ACCOUNT}:user/ada"), ("iam:CreatePolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/other"),
        ("sts:AssumeRole", role(f"{STACK}-IngestRole-0a1b2c3d")), send("Remediation Approval"), ("lambda:InvokeFunction", function(f"{STACK}-remediate")),
        *calls(STACK_QUEUE, "sqs", "ReceiveMessage SendMessage DeleteMessage"), ("sns:Publish", STACK_TOPIC), ("logs:FilterLogEvents", logs("ingest")),
        ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-analyze"), START,
        ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint/churn"), ("secretsmanager:GetSecretValue", SECRET + "driftwarden/pagerduty-AbCdEf"),
        ("kms:Decrypt", KEY),
    ]),
    "operator": ([
        # --stack, incidents, alerts, policy, pause and resume, and the restoration of a state document.
        FIND, ("s3:ListBucket", STATE), *VERSIONS, *calls(f"{STATE}/models/churn.json", "s3", "GetObject GetObjectVersion"),
        *(("s3:GetObject", key) for key in (*RESTORED, *PUBLISHED, f"{STATE}/dashboard/index.html")),
        *(("s3:PutObject", key) for key in (*RESTORED, *PUBLISHED)), ALERTS, ("sagemaker:ListMonitoringAlertHistory", "*"),
        # approve, resolve, pause MODEL, datapoint drop, and experiment.
        *command("operator"), *command("operator-approve"),
        # redrive. Lambda names the version of the function.
        *calls(STACK_QUEUE, "sqs", "ReceiveMessage DeleteMessage ChangeMessageVisibility"),
        *(("lambda:InvokeFunction", function(f"{STACK}-{name}")) for name in (
            "ingest", "remediate", "analyze", "promote", "dashboard", "notify", "sweep:$LATEST")),
        # doctor, and its fixes that change nothing.
        *calls(stack(STACK), "cloudformation", "ListStackResources DescribeStackEvents"), *calls(STATE, "s3", "GetBucketVersioning GetBucketPolicy"),
        ("s3:GetBucketNotification", REPORTS), *((f"events:{action}", rule) for action in ("DescribeRule", "ListTargetsByRule") for rule in RULES),
        ("lambda:GetFunctionConfiguration", function(f"{STACK}-ingest")), ("sagemaker:DescribePipeline", PIPELINE),
        ("sns:ListSubscriptionsByTopic", STACK_TOPIC), ("sqs:GetQueueAttributes", STACK_QUEUE),
        *((action, key) for action in ("s3:PutObject", "s3:DeleteObject") for key in DOCTOR_REPORTS),
        *calls("*", "cloudwatch", "DescribeAlarms DescribeAlarmHistory"), *calls("*", "sagemaker", "ListPipelines ListMonitoringExecutions"),
        # dashboard.
        *calls("*", "sagemaker", "ListMonitoringSchedules ListTransformJobs ListArtifacts ListContexts QueryLineage"), ("cloudwatch:GetMetricData", "*"),
        *((f"sagemaker:Describe{kind}", f"{SAGEMAKER}:{name}/churn") for kind, name in (
            ("Artifact", "artifact"), ("Context", "context"), ("Endpoint", "endpoint"), ("EndpointConfig", "endpoint-config"),
            ("Model", "model"), ("ModelCard", "model-card"), ("MonitoringSchedule", "monitoring-schedule"),
            *((f"{kind}JobDefinition", f"{name}-job-definition") for kind, name in JOB_DEFINITIONS))),
        # backtest, baseline, and analyze, with data in S3.
        *((action, place) for bucket in (REPORTS, DATA) for action, place in (
            ("s3:ListBucket", bucket), ("s3:GetObject", f"{bucket}/churn/1.jsonl"), ("s3:PutObject", f"{bucket}/baselines/churn/constraints.json"))),
        # The metrics and the saved queries.
        ("cloudwatch:ListMetrics", "*"), *calls("*", "logs", "DescribeLogGroups DescribeQueryDefinitions GetQueryResults"),
        *calls(logs("ingest"), "logs", "StartQuery FilterLogEvents"),
    ], [
        *FOR_PEOPLE, ("s3:GetBucketNotification", DATA), ("cloudformation:DescribeStacks", stack(f"{STACK}-2")),
        ("events:DescribeRule", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"), ("sns:ListSubscriptionsByTopic", TOPIC),
    ]),
    "approver": ([
        # approve, incidents, and experiment status.
        FIND, ("s3:ListBucket", STATE), *(("s3:GetObject", f"{STATE}/{key}.json") for key in ("models/churn", "experiments/churn", "pause")),
        *command("operator-approve"),
    ], [
        *FOR_PEOPLE, *(("s3:PutObject", key) for key in (*RESTORED, *PUBLISHED, *DOCTOR_REPORTS)), *VERSIONS,
        *command("operator"),
        *(("s3:GetObject", key) for key in (f"{STATE}/monitors/churn.json", f"{STATE}/policy.toml", REPORT, f"{DATA}/churn/1.jsonl")),
        *(("s3:ListBucket", bucket) for bucket in (REPORTS, DATA)), ("cloudformation:ListStackResources", stack(STACK)),
        ("cloudformation:DescribeStacks", stack(f"{STACK}-2")), ("lambda:InvokeFunction", function(f"{STACK}-remediate")),
        ("sqs:ReceiveMessage", STACK_QUEUE), ("logs:FilterLogEvents", logs("ingest")), ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/churn"),
    ]),
}


def person_policy(person, values):
    """The policy of infra/iam for a person, with values for its placeholders."""
    text = (IAM / f"{person}.json").read_text()
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return json.loads(text)


def unused_actions(policy, allowed):
    """Actions of a policy that no call needs."""
    actions = [action for statement in policy["Statement"] for action in as_list(statement["Action"])]
    return [action for action in actions if not any(fnmatch.fnmatchcase(call[0], action) for call in allowed)]


@contextlib.contextmanager
def simulator():
    """Client of ministack's IAM, which runs until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [pathlib.Path(sys.executable).with_name("ministack")]
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+", encoding="utf-8") as log:
        environment = os.environ | {"GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1"}
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION,
                               aws_access_key_id="test", aws_secret_access_key="test")
            for _ in range(150):
                with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                    iam.list_roles()
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.2)
            else:
                process.kill()
            if process.poll() is not None:
                log.seek(0)
                raise SystemExit(f"ministack did not start:\n{log.read()[-2000:]}")
            yield iam
        finally:
            process.terminate()
            process.wait(10)


def as_list(value):
    """A value, or a list of values, as a list."""
    return value if isinstance(value, list) else [value]


def is_met(condition, context):
    """Whether a statement's condition is met. The simulator accepts no context, so this is evaluated here. An operator that the
    policies do not use yet is an error."""
    for operator, keys in condition.items():
        if operator not in ("StringEquals", "ForAllValues:StringEquals", "ForAnyValue:StringEquals", "ArnNotEquals", "Bool", "Null"):
            raise NotImplementedError(f"{operator} in a policy")
        for key, values in keys.items():
            if operator in ("ForAnyValue:StringEquals", "ArnNotEquals"):
                equal = bool(set(as_list(context.get(key))) & set(as_list(values)))
                if equal != (operator == "ForAnyValue:StringEquals"):
                    return False
                continue
            if operator == "Null":
                if str(key not in context).lower() != values:
                    return False
                continue
            if key not in context and operator.startswith("ForAllValues:"):
                continue
            if not set(as_list(context.get(key))) <= set(as_list(values)):
                return False
    return True


def decide(iam, policy, action, resource, context=None):
    """Whether a policy allows a call."""
    statements = [{key: value for key, value in statement.items() if key != "Condition"}
                  for statement in policy["Statement"] if is_met(statement.get("Condition", {}), context or {})]
    answer = iam.simulate_custom_policy(
        PolicyInputList=[json.dumps(policy | {"Statement": statements})], ActionNames=[action], ResourceArns=[resource])
    return answer["EvaluationResults"][0]["EvalDecision"] == "allowed"


def differences(iam, name, policy, allowed, denied):
    """Calls for which a policy decides other than expected."""
    for expected, expected_calls in ((True, allowed), (False, denied)):
        for call in expected_calls:
            if decide(iam, policy, *call) != expected:
                yield f"{name} {'denies' if expected else 'allows'} {' '.join(map(str, call))}"


def bus_differences(template):
    """Events that the resource policy of the bus denies, or does not deny, other than expected."""
    statement = template.resolve(template.document["Resources"]["EventBusPolicy"]["Properties"]["Statement"])
    assert (statement["Effect"], statement["Principal"], statement["Resource"]) == ("Deny", "*", BUS), statement
    for detail_type in ("Experiment Command", "Monitor Datapoint Drop", "Remediation Decided", "Retraining Status Reported"):
        for role in (ATTRIBUTES["OperatorRole.Arn"], f"arn:aws:iam::{ACCOUNT}:role/RemediateRole"):
            expected = detail_type in ("Experiment Command", "Monitor Datapoint Drop") and role != ATTRIBUTES["OperatorRole.Arn"]
            if is_met(statement["Condition"], {"events:detail-type": detail_type, "aws:PrincipalArn": role}) != expected:
                yield f"the policy of the bus {'allows' if expected else 'denies'} {detail_type} by {role}"


def main():
    """Prints the differences. The exit code is 1 if there are any."""
    unexpected, checked = [], 0
    with simulator() as iam:
        for deployment, (parameters, more_allowed, more_denied) in DEPLOYMENTS.items():
            template = Template(parameters)
            unexpected += [f"{deployment}: {difference}" for difference in bus_differences(template)]
            for name in (*ALLOWED, "StartPipelineRole"):
                policy = template.policy(name)
                if policy is None:
                    if name in more_allowed:
                        unexpected.append(f"{deployment}: {name} is not deployed")
                    continue
                allowed = ALLOWED.get(name, []) + more_allowed.get(name, [])
                denied = [call for call in DENIED[name] + more_denied.get(name, []) if call not in allowed]
                checked += len(allowed) + len(denied)
                unexpected += differences(iam, f"{deployment}: {name}", policy, allowed, denied)
        for person, (allowed, denied) in PEOPLE.items():
            policy = person_policy(person, PLACEHOLDERS)
            checked += len(allowed) + len(denied)
            unexpected += differences(iam, f"{person}.json", policy, allowed, denied)
            unexpected += [f"{person}.json allows {action}, which no call needs" for action in unused_actions(policy, allowed)]
            size = len(json.dumps(person_policy(person, LONGEST), separators=(",", ":")))
            if size > MAX_MANAGED_POLICY_CHARS:
                unexpected.append(f"{person}.json has {size:,} characters, but a managed policy has at most {MAX_MANAGED_POLICY_CHARS:,}")
    print(*unexpected, f"{checked} calls checked, {len(unexpected)} unexpected results", sep="\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
