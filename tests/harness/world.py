"""A deployment from outside: causes events as SageMaker and S3 do, and reads the results."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any, Callable, TypeVar

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .faults import Faults, proxy
from .stack import ACCOUNT, FUNCTIONS, REGION, Stack

T = TypeVar("T")

# ARN of the caller of signed requests to function URLs: see tests/localstack_plugin.
CALLER = f"arn:aws:iam::{ACCOUNT}:root"
# Tests share a deployment, so that many models retrain on one day.
FLEET = """
[fleet]
retrainings_at_once = 1000
retrainings_per_day = 10000
common_cause = false
"""
# A policy without automation level: the risk rating of the model card decides.
ASKING = FLEET + "[remediation]\ndecide_after = '0s'\nclose_after = 1\nreopen_within = '0m'\ncooldown = '0h'\n"
# The event of EventBridge's schedules.
TICK = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
# Default policy of the tests: every alert leads to a retraining.
AUTO = FLEET + """
[remediation]
automation = "auto"
decide_after = "0s"
close_after = 1
reopen_within = "0m"
cooldown = "0h"
retrainings_per_day = 1000
retrainings_per_month = 1000
"""


def eventually(look: Callable[[], T], what: str, seconds: float = 30, every: float = 0.1) -> T:
    """Calls `look` until its result is true, and returns the result."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {seconds:.0f} s: {what}; last result: {seen!r}")
        time.sleep(every)


def folder(endpoint: str | None, schedule: str, at: datetime, prefix: str = "reports") -> str:
    """Report folder of the execution that was scheduled for that hour."""
    parts = [prefix, endpoint, schedule, at.strftime("%Y/%m/%d/%H")]
    return "/".join(part for part in parts if part)


class Queue:
    """Collects the messages of an SQS queue, each once."""

    def __init__(self, stack: Stack, url: str):
        self.sqs, self.url = stack.client("sqs"), url
        self.messages: list[dict[str, Any]] = []

    def drain(self) -> list[dict[str, Any]]:
        """All messages so far, oldest first."""
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
            )
            messages = answer.get("Messages", [])
            if not messages:
                return self.messages
            for message in messages:
                self.messages.append(message)
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def bodies(self) -> list[Any]:
        return [json.loads(message["Body"]) for message in self.drain()]


class World:
    """A deployment of Driftwarden with its report bucket and pipeline, and queues that receive the events of its bus and topic.

    Tests use it one after another: `clear` resets it as if it had just been deployed. Only CloudWatch keeps metrics and logs.
    """

    def __init__(self, stack: Stack, name: str | None = None, policy: str = AUTO, **parameters: str):
        self.stack = stack
        self.name = name or f"dw-{uuid.uuid4().hex[:8]}"
        self.reports = f"{self.name}-reports"
        self.pipeline = f"{self.name}-retraining"
        self.namespace = parameters.get("MetricNamespace", self.name)
        self.create_report_bucket()
        self.create_pipeline()
        self.state_machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{self.name}-retraining"
        given = {
            "ReportBucketName": self.reports,
            "ReportPrefix": "reports",
            "RetrainingPipelineName": self.pipeline,
            "MetricNamespace": self.namespace,
            # Tests start sweeps and ticks themselves.
            "SweepRate": "rate(1 day)",
            "AnalyzeRate": "rate(1 day)",
            "PromoteRate": "rate(1 day)",
            "NotifyRate": "rate(1 day)",
            # Tests of the dashboard turn it on.
            "DashboardPages": "off",
            "DashboardRate": "rate(1 day)",
            "TriggerAlarmPrefix": f"{self.name}-alarm-",
            "RetrainingStateMachineArn": self.state_machine,
            "NotificationTopicArns": f"arn:aws:sns:{REGION}:{ACCOUNT}:{self.name}-json,arn:aws:sns:{REGION}:{ACCOUNT}:{self.name}-chat",
            "NotificationSecretPattern": f"{self.name}/*",
            "PromotedEndpointPattern": "*",
            "PassedRoleArns": f"arn:aws:iam::{ACCOUNT}:role/hosting,arn:aws:iam::{ACCOUNT}:role/monitor",
        }
        self.outputs = stack.deploy(self.name, given | parameters)
        self.state = self.outputs["StateBucketName"]
        self.dead_letters = Queue(stack, self.outputs["DeadLetterQueueUrl"])
        self.bus = self._tap_bus()
        self.topic = self._tap_topic()
        events = stack.client("events")
        self.rules = [
            (rule["Name"], bus)
            for bus in ("default", self.outputs["EventBusName"])
            for page in events.get_paginator("list_rules").paginate(EventBusName=bus)
            for rule in page["Rules"]
            if rule["Name"].startswith(self.name)
        ]
        self.silent = False
        self.put_policy(policy)

    def clear(self, policy: str = AUTO) -> None:
        """Removes the data of earlier tests. Nothing may be in progress: see `settle`."""
        self.stack.stand_in("clear", {})
        self.create_pipeline()
        self.listen()
        s3 = self.stack.client("s3")
        for bucket in (self.state, self.reports):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                found = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in page.get("Versions", []) + page.get("DeleteMarkers", [])]
                if found:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
        for queue in (self.dead_letters, self.bus, self.topic):
            queue.drain()
            queue.messages.clear()
        self.put_policy(policy)

    def settle(self, quiet: float = 2, seconds: float = 60) -> None:
        """Waits until all functions are idle: state bucket, bus, and topic have not changed for `quiet` seconds."""
        deadline, last, since = time.monotonic() + seconds, None, time.monotonic()
        while time.monotonic() < min(since + quiet, deadline):
            listed = self.stack.client("s3").list_objects_v2(Bucket=self.state).get("Contents", [])
            now = sorted((item["Key"], item["ETag"]) for item in listed), len(self.bus.drain()), len(self.topic.drain())
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.2)

    # Resources outside the stack.

    def create_report_bucket(self) -> None:
        s3 = self.stack.client("s3")
        s3.create_bucket(Bucket=self.reports)
        s3.put_bucket_notification_configuration(
            Bucket=self.reports, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    def create_pipeline(self, *parameters: str) -> None:
        names = parameters or (
            "DriftwardenModel",
            "DriftwardenIncident",
            "MonitoringSchedule",
            "ReportUri",
            "DriftedFeatures",
        )
        definition = {
            "Version": "2020-12-01",
            "Parameters": [{"Name": name, "Type": "String", "DefaultValue": "none"} for name in names],
            "Steps": [],
        }
        self.stack.client("sagemaker").create_pipeline(
            PipelineName=self.pipeline,
            PipelineDefinition=json.dumps(definition),
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/pipeline",
            ClientRequestToken=uuid.uuid4().hex,
        )

    def put_policy(self, text: str) -> None:
        self.stack.client("s3").put_object(Bucket=self.state, Key="policy.toml", Body=text.encode())

    def _queue(self, name: str) -> tuple[str, str]:
        sqs = self.stack.client("sqs")
        url = sqs.create_queue(QueueName=f"{self.name}-{name}")["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def _tap_bus(self) -> Queue:
        url, arn = self._queue("bus-tap")
        events = self.stack.client("events")
        bus = self.outputs["EventBusName"]
        pattern = json.dumps({"source": ["driftwarden"]})
        events.put_rule(Name=f"{self.name}-tap", EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule=f"{self.name}-tap", EventBusName=bus, Targets=[{"Id": "tap", "Arn": arn}])
        return Queue(self.stack, url)

    def _tap_topic(self) -> Queue:
        url, arn = self._queue("topic-tap")
        self.stack.client("sns").subscribe(TopicArn=self.outputs["TopicArn"], Protocol="sqs", Endpoint=arn)
        return Queue(self.stack, url)

    @contextmanager
    def faulty(self) -> Iterator[Faults]:
        """Routes the functions' AWS calls through a proxy that fails on demand."""
        with proxy(self.stack.url) as (url, faults):
            try:
                self._restart({"AWS_ENDPOINT_URL": url})
                yield faults
            finally:
                self._restart({})

    def _restart(self, environment: dict[str, str]) -> None:
        """Kills the functions' processes. Later processes also have these variables.

        A change of the functions' configuration would do the same, but LocalStack can then delay asynchronous invocations for minutes.
        """
        folder = self.stack.folder / "functions"
        folder.mkdir(exist_ok=True)
        for function in FUNCTIONS:
            (folder / f"{self.name}-{function}.json").write_text(json.dumps(environment))
        old = set(self.stack.functions(self.name))
        for pid in old:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Events in flight start new processes at once.
        eventually(lambda: not old & set(self.stack.functions(self.name)), "the end of the functions' processes")

    def silence(self, but: str | None = None) -> None:
        """Disables the rules of the deployment, except those with `but` in their names, because every deployment gets all events of the
        default bus."""
        self._switch("disable_rule", but)
        self.silent = True

    def listen(self) -> None:
        """Enables the rules of the deployment again."""
        if self.silent:
            self._switch("enable_rule")
        self.silent = False

    def _switch(self, operation: str, but: str | None = None) -> None:
        for name, bus in self.rules:
            if not (but and but in name):
                getattr(self.stack.client("events"), operation)(Name=name, EventBusName=bus)

    # Events and state outside the stack.

    def put_report(self, key_folder: str, body: bytes, name: str = "constraint_violations.json") -> str:
        key = f"{key_folder}/{name}"
        self.stack.client("s3").put_object(Bucket=self.reports, Key=key, Body=body)
        return f"s3://{self.reports}/{key}"

    def job_event(
        self,
        key_folder: str,
        schedule: str,
        status: str = "Completed",
        exit_message: str | None = "Completed: Job completed successfully with no violations.",
        failure_reason: str | None = None,
        name: str | None = None,
        has_schedule: bool = True,
    ) -> dict[str, Any]:
        """Entry for PutEvents: `SageMaker Processing Job State Change`."""
        name = name or f"data-quality-monitoring-{uuid.uuid4().hex[:24]}"
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/{name}"
        ended = int(time.time() * 1000)
        detail: dict[str, Any] = {
            "ProcessingJobName": name,
            "ProcessingJobArn": arn,
            "ProcessingJobStatus": status,
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "monitoring_output",
                        "S3Output": {
                            "S3Uri": f"s3://{self.reports}/{key_folder}",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "END_OF_JOB",
                        },
                    }
                ]
            },
            "AppSpecification": {"ImageUri": "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"},
            "ProcessingStartTime": ended - 240_000,
            "ProcessingEndTime": ended,
            "LastModifiedTime": ended,
            "CreationTime": ended - 300_000,
        }
        schedule_arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:monitoring-schedule/{schedule.lower()}"
        if has_schedule:
            detail["MonitoringScheduleArn"] = schedule_arn
        if exit_message is not None:
            detail["ExitMessage"] = exit_message
        if failure_reason is not None:
            detail["FailureReason"] = failure_reason
        return {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker Processing Job State Change",
            "Resources": [arn],
            "Detail": json.dumps(detail),
        }

    def schedule(self, name: str, endpoint: str | None = None, expression: str = "cron(0 * ? * * *)", **more: Any) -> None:
        """Adds a monitoring schedule to SageMaker."""
        given = {"MonitoringScheduleName": name, "ScheduleExpression": expression} | more
        self.stack.stand_in("schedule", given | ({"EndpointName": endpoint} if endpoint else {}))

    def execution(
        self,
        schedule: str,
        endpoint: str,
        at: datetime,
        status: str = "Completed",
        failure_reason: str | None = None,
        with_job: bool = True,
    ) -> dict[str, Any]:
        """Adds an execution and its job to SageMaker, without an event. Returns the event."""
        completed = status.startswith("Completed")
        message = f"{status}: Job completed successfully." if completed else None
        event = self.job_event(
            folder(endpoint, schedule, at), schedule, "Completed" if completed else status, message, failure_reason
        )
        now = time.time()
        summary: dict[str, Any] = {
            "MonitoringScheduleName": schedule,
            "EndpointName": endpoint,
            "ScheduledTime": at.replace(tzinfo=timezone.utc).timestamp(),
            "CreationTime": now,
            "LastModifiedTime": now,
            "MonitoringExecutionStatus": status,
        }
        if failure_reason:
            summary["FailureReason"] = failure_reason
        if with_job:
            job = json.loads(event["Detail"])
            times = ("ProcessingStartTime", "ProcessingEndTime", "LastModifiedTime", "CreationTime")
            self.stack.stand_in("job", job | {key: job[key] / 1000 for key in times})
            summary["ProcessingJobArn"] = job["ProcessingJobArn"]
        self.stack.stand_in("execution", summary)
        return event

    def card(self, name: str, risk_rating: str) -> None:
        content = json.dumps({"intended_uses": {"risk_rating": risk_rating}})
        self.stack.stand_in("card", {"ModelCardName": name, "Content": content})

    def start_by_hand(self) -> str:
        """Starts the pipeline outside Driftwarden. Returns the ARN of the execution."""
        started = self.stack.client("sagemaker").start_pipeline_execution(
            PipelineName=self.pipeline, PipelineExecutionDisplayName="by-hand", ClientRequestToken=uuid.uuid4().hex
        )
        return started["PipelineExecutionArn"]

    def command(self, command: str, url: str = "OperatorUrl", signed: bool = True, **fields: Any) -> tuple[int, Any]:
        """Sends a command to the function `operator`, through the URL in an output of the stack. Returns status and answer."""
        body = json.dumps({"id": uuid.uuid4().hex, "command": command} | fields)
        request = AWSRequest("POST", self.outputs[url], {"Content-Type": "application/json"}, body)
        if signed:
            SigV4Auth(Credentials("test", "test"), "lambda", REGION).add_auth(request)
        sent = urllib.request.Request(self.outputs[url], body.encode(), dict(request.headers), method="POST")
        try:
            with urllib.request.urlopen(sent, timeout=65) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def put_operator_event(self, detail_type: str, source: str = "driftwarden.operator", **detail: Any) -> None:
        """Sends an event of an operator or of an external service to the bus."""
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        entry = {
            "EventBusName": self.outputs["EventBusName"],
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps({"time": now} | detail),
        }
        answer = self.stack.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer

    def sweep(self) -> dict[str, Any]:
        """Runs one sweep and returns its result."""
        done, answer = self.invoke("sweep", {})
        assert done, answer
        return answer

    def analyze(self, **request: Any) -> dict[str, Any]:
        """Invokes analyze with a request, or for a tick, and returns the result. A tick requests executions as events."""
        done, answer = self.invoke("analyze", request)
        assert done, answer
        return answer

    def promote(self) -> bool:
        """Invokes promote for a tick. Returns whether it succeeded."""
        tick = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
        return self.invoke("promote", tick)[0]

    def put_events(self, *entries: dict[str, Any]) -> None:
        """Sends events to the default bus, as AWS services do."""
        for start in range(0, len(entries), 10):
            answer = self.stack.client("events").put_events(Entries=list(entries[start : start + 10]))
            assert answer["FailedEntryCount"] == 0, answer

    # Results.

    def document(self, key: str) -> Any:
        s3 = self.stack.client("s3")
        try:
            return json.load(s3.get_object(Bucket=self.state, Key=key)["Body"])
        except s3.exceptions.NoSuchKey:
            return None

    def keys(self, prefix: str) -> list[str]:
        listed = self.stack.client("s3").list_objects_v2(Bucket=self.state, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def ledger(self, schedule: str) -> Any:
        return self.document(f"monitors/{schedule.lower()}.json")

    def model(self, name: str) -> Any:
        return self.document(f"models/{name}.json")

    def experiments(self, model: str) -> Any:
        return self.document(f"experiments/{model}.json")

    def pages(self) -> dict[str, bytes]:
        """Pages of the model dashboard by key."""
        s3 = self.stack.client("s3")
        listed = s3.list_objects_v2(Bucket=self.state, Prefix="dashboard/").get("Contents", [])
        keys = [entry["Key"] for entry in listed if entry["Key"].endswith(".html")]
        return {key: s3.get_object(Bucket=self.state, Key=key)["Body"].read() for key in keys}

    def events(self, detail_type: str | None = None) -> list[Any]:
        return [event for event in self.bus.bodies() if detail_type in (None, event["detail-type"])]

    def messages(self) -> list[dict[str, str]]:
        """Notifications of Driftwarden. Alarms, which may belong to an earlier test, are left out."""
        return [message for message in self.topic.bodies() if message["Subject"].startswith("[Driftwarden]")]

    def executions(self) -> list[Any]:
        return [run for run in self.stack.stand_in("executions") if f"/{self.pipeline}/" in run["arn"]]

    def finish(self, arn: str, status: str = "Succeeded") -> None:
        self.stack.stand_in("finish", {"arn": arn, "status": status})

    def metric(self, name: str, at: datetime, statistic: str = "Maximum", **dimensions: str) -> float | None:
        """Value of a CloudWatch metric at the hour of an execution. `None` if there is no datapoint."""
        answer = self.stack.client("cloudwatch").get_metric_statistics(
            Namespace=self.namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=at.replace(minute=0, second=0, microsecond=0, tzinfo=timezone.utc),
            EndTime=datetime.fromtimestamp(at.replace(tzinfo=timezone.utc).timestamp() + 60, timezone.utc),
            Period=60,
            Statistics=[statistic],
        )
        points = answer["Datapoints"]
        return points[0][statistic] if points else None

    def logs(self, function: str) -> list[str]:
        logs = self.stack.client("logs")
        group = f"/aws/lambda/{self.name}-{function}"
        lines: list[str] = []
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
            lines += [event["message"] for event in page["events"]]
        return lines

    def invoke(self, function: str, event: Any) -> tuple[bool, Any]:
        """Invokes a function. Returns whether it succeeded, and its response."""
        answer = self.stack.client("lambda").invoke(
            FunctionName=f"{self.name}-{function}", Payload=json.dumps(event).encode()
        )
        return "FunctionError" not in answer, json.load(answer["Payload"])
