"""Checks the hosting side of the simulated SageMaker against SageMaker's documentation, because other tests depend on it."""

import json
import threading
import urllib.error
import urllib.request
import uuid
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError
from harness.hosting import upper_snake
from harness.world import Queue, eventually

@contextmanager
def server(answer, status=200):
    """A model server that always returns the same prediction."""

    class Model(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

    http = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/invocations"
    finally:
        http.shutdown()
        http.server_close()


class Hosting:
    """Models, configurations, and one endpoint with unique names."""

    def __init__(self, stack):
        self.stack, self.sagemaker = stack, stack.client("sagemaker")
        self.name = f"hosted-{uuid.uuid4().hex[:8]}"
        url = stack.client("sqs").create_queue(QueueName=self.name)["QueueUrl"]
        arn = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events = stack.client("events")
        pattern = {"source": ["aws.sagemaker"], "detail": {"$or": [{"EndpointName": [self.name]}, {"ModelPackageGroupName": [self.name]}]}}
        events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self.name, Targets=[{"Id": "tap", "Arn": arn}])
        self.events = Queue(stack, url)

    def model(self, name):
        container = {"Image": "image", "ModelDataUrl": f"s3://models/{self.name}-{name}.tar.gz"}
        self.sagemaker.create_model(ModelName=f"{self.name}-{name}", PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::000000000000:role/r")

    def config(self, name, weights, shadows=None, **more):
        def variants(some):
            same = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
            return [{"VariantName": model, "ModelName": f"{self.name}-{model}", "InitialVariantWeight": weight} | same for model, weight in some.items()]

        extra = {"ShadowProductionVariants": variants(shadows)} if shadows else {}
        name = f"{self.name}-{name}"
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants(weights), **extra, **more)
        return name

    def settled(self):
        return eventually(lambda: (seen := self.describe())["EndpointStatus"] not in ("Creating", "Updating", "RollingBack") and seen, "settled")

    def describe(self):
        return self.sagemaker.describe_endpoint(EndpointName=self.name)

    def update(self, config, **more):
        self.sagemaker.update_endpoint(EndpointName=self.name, EndpointConfigName=config, **more)

    def statuses(self):
        """Statuses of the events, in the order of time."""
        details = sorted((event["detail"] for event in self.events.bodies()), key=lambda detail: detail["LastModifiedTime"])
        return [detail["EndpointStatus"] for detail in details]


@pytest.fixture
def hosting(stack):
    stack.stand_in("endpoint", {"takes": 0.6})
    yield Hosting(stack)
    stack.stand_in("endpoint", {"takes": 1.0})


def refusal(call, *arguments, **more):
    with pytest.raises(ClientError) as raised:
        call(*arguments, **more)
    return raised.value.response["Error"]


def test_endpoint_goes_through_its_states(hosting, stack):
    sagemaker = hosting.sagemaker
    assert refusal(sagemaker.describe_endpoint, EndpointName=hosting.name)["Message"].startswith("Could not find endpoint")
    assert refusal(hosting.config, "none", {"missing": 1})["Message"].startswith("Could not find model")
    for model in ("a", "b"):
        hosting.model(model)
    assert refusal(hosting.model, "a")["Message"].startswith("Cannot create already existing model")
    first, second = hosting.config("first", {"a": 1}), hosting.config("second", {"a": 0.9, "b": 0.1})
    sagemaker.create_endpoint(EndpointName=hosting.name, EndpointConfigName=first)
    assert hosting.describe()["EndpointStatus"] == "Creating"
    busy = f'Cannot update in-progress endpoint "{hosting.describe()["EndpointArn"]}".'
    assert refusal(hosting.update, second) == {"Code": "ValidationException", "Message": busy}
    assert hosting.settled()["EndpointConfigName"] == first
    assert "Could not find endpoint configuration" in refusal(hosting.update, "nowhere")["Message"]
    hosting.update(second)
    seen = hosting.describe()
    assert (seen["EndpointStatus"], seen["EndpointConfigName"], len(seen["ProductionVariants"])) == ("Updating", first, 1)
    assert seen["PendingDeploymentSummary"]["EndpointConfigName"] == second
    weigh = [{"VariantName": "b", "DesiredWeight": 0.5}]
    change = sagemaker.update_endpoint_weights_and_capacities
    assert "in-progress" in refusal(change, EndpointName=hosting.name, DesiredWeightsAndCapacities=weigh)["Message"]
    seen = hosting.settled()
    assert [variant["CurrentWeight"] for variant in seen["ProductionVariants"]] == [pytest.approx(0.9), pytest.approx(0.1)]
    change(EndpointName=hosting.name, DesiredWeightsAndCapacities=weigh)
    seen = hosting.describe()["ProductionVariants"][1]
    assert (seen["DesiredWeight"], round(seen["CurrentWeight"], 6)) == (0.5, 0.1)
    assert hosting.settled()["ProductionVariants"][1]["CurrentWeight"] == 0.5
    eventually(lambda: hosting.statuses() == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE", "UPDATING", "IN_SERVICE"], "its events")
    # Properties of the old variants that are kept, and those that are not.
    third = hosting.config("third", {"a": 1, "b": 7})
    hosting.update(third, RetainAllVariantProperties=True)
    assert [variant["CurrentWeight"] for variant in hosting.settled()["ProductionVariants"]] == [pytest.approx(0.9), 0.5]
    hosting.update(second, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}])
    assert [variant["CurrentWeight"] for variant in hosting.settled()["ProductionVariants"]] == [pytest.approx(0.9), pytest.approx(0.1)]
    # The configuration of an endpoint can be deleted. Then the endpoint cannot be updated.
    sagemaker.delete_endpoint_config(EndpointConfigName=second)
    assert second in refusal(hosting.update, first)["Message"]
    sagemaker.delete_endpoint(EndpointName=hosting.name)
    eventually(lambda: hosting.name not in stack.stand_in("endpoints"), "the end of the endpoint")


def test_failed_update_and_alarm_roll_back(hosting, stack):
    for model in ("a", "b", "c"):
        hosting.model(model)
    first, second, third = (hosting.config(name, {model: 1}) for name, model in (("first", "a"), ("second", "b"), ("third", "c")))
    hosting.sagemaker.create_endpoint(EndpointName=hosting.name, EndpointConfigName=first)
    hosting.settled()
    stack.stand_in("broken", {"model": f"s3://models/{hosting.name}-b.tar.gz", "reason": "it does not start"})
    hosting.update(second)
    seen = hosting.settled()
    assert (seen["EndpointStatus"], seen["EndpointConfigName"], seen["FailureReason"]) == ("InService", first, "it does not start")
    eventually(lambda: hosting.statuses() == ["CREATING", "IN_SERVICE", "UPDATING", "ROLLING_BACK", "IN_SERVICE"], "its events")
    cloudwatch, alarm = stack.client("cloudwatch"), f"{hosting.name}-alarm"
    # `ignore`: LocalStack's own evaluation must not replace the state that the test sets.
    limit = {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum", "TreatMissingData": "ignore"}
    cloudwatch.put_metric_alarm(AlarmName=alarm, Namespace="n", MetricName="m", Period=60, EvaluationPeriods=1, **limit)
    canary = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}, "WaitIntervalInSeconds": 60}
    guarded = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary, "TerminationWaitInSeconds": 0},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
    }
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    hosting.update(third, DeploymentConfig=guarded)
    seen = hosting.settled()
    assert seen["EndpointConfigName"] == first and alarm in seen["FailureReason"]
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")
    hosting.update(third, DeploymentConfig=guarded)
    seen = hosting.settled()
    assert seen["EndpointConfigName"] == third and "FailureReason" not in seen
    stack.stand_in("fault", {"operation": "UpdateEndpoint", "count": 1, "status": 400, "code": "ThrottlingException"})
    hosting.update(first)
    assert hosting.settled()["EndpointConfigName"] == first


def test_registry_counts_versions_and_sends_events(hosting, stack):
    sagemaker = hosting.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName=hosting.name)
    given = {
        "InferenceSpecification": {
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://m/1"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        "MetadataProperties": {"GeneratedBy": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/e"},
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://m/report.json"}}},
        "CustomerMetadataProperties": {"data": "s3://m/data.csv"},
    }
    arns = [sagemaker.create_model_package(ModelPackageGroupName=hosting.name, **given)["ModelPackageArn"] for _ in range(3)]
    assert [arn.rsplit(f"{hosting.name}/")[-1] for arn in arns] == ["1", "2", "3"]
    described = sagemaker.describe_model_package(ModelPackageName=arns[1])
    assert described["ModelPackageVersion"] == 2 and described["ModelApprovalStatus"] == "PendingManualApproval"
    assert {key: described[key] for key in given} == given
    sagemaker.update_model_package(ModelPackageArn=arns[1], ModelApprovalStatus="Approved")
    listed = sagemaker.list_model_packages(ModelPackageGroupName=hosting.name, SortBy="CreationTime", SortOrder="Descending", MaxResults=2)
    assert [one["ModelPackageVersion"] for one in listed["ModelPackageSummaryList"]] == [3, 2]
    rest = sagemaker.list_model_packages(ModelPackageGroupName=hosting.name, SortOrder="Descending", MaxResults=2, NextToken=listed["NextToken"])
    assert [one["ModelPackageVersion"] for one in rest["ModelPackageSummaryList"]] == [1]
    approved = sagemaker.list_model_packages(ModelPackageGroupName=hosting.name, ModelApprovalStatus="Approved")["ModelPackageSummaryList"]
    assert [one["ModelPackageArn"] for one in approved] == [arns[1]]
    events = eventually(lambda: (seen := hosting.events.bodies()) and len(seen) == 4 and seen, "four events of packages")
    pairs = Counter((event["detail"]["ModelPackageVersion"], event["detail"]["ModelApprovalStatus"]) for event in events)
    assert pairs == {(1, "PendingManualApproval"): 1, (2, "PendingManualApproval"): 1, (3, "PendingManualApproval"): 1, (2, "Approved"): 1}
    sagemaker.create_model(ModelName=hosting.name, PrimaryContainer={"ModelPackageName": arns[1]}, ExecutionRoleArn="arn:aws:iam::000000000000:role/r")
    assert sagemaker.describe_model(ModelName=hosting.name)["PrimaryContainer"]["ModelPackageName"] == arns[1]


def test_job_definitions_and_schedules(hosting, stack):
    sagemaker, name = hosting.sagemaker, hosting.name
    schedule = {"MonitoringScheduleName": name, "EndpointName": name, "ScheduleExpression": "cron(0 * ? * * *)"}
    stack.stand_in("schedule", schedule | {"MonitoringType": "ModelQuality"})
    (listed,) = sagemaker.list_monitoring_schedules(EndpointName=name)["MonitoringScheduleSummaries"]
    assert listed["MonitoringType"] == "ModelQuality"
    config = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleConfig"] | {"MonitoringJobDefinitionName": name}
    update = sagemaker.update_monitoring_schedule
    assert refusal(update, MonitoringScheduleName=name, MonitoringScheduleConfig=config)["Code"] == "ResourceNotFound"
    given = {
        "ModelQualityAppSpecification": {"ImageUri": "image", "ProblemType": "BinaryClassification"},
        "ModelQualityBaselineConfig": {"ConstraintsResource": {"S3Uri": "s3://b/constraints.json"}},
        "ModelQualityJobInput": {"EndpointInput": {"EndpointName": name, "LocalPath": "/opt/ml"}, "GroundTruthS3Input": {"S3Uri": "s3://b/labels"}},
        "ModelQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://b/out", "LocalPath": "/opt/ml/out"}}]},
        "JobResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
        "RoleArn": "arn:aws:iam::000000000000:role/r",
    }
    sagemaker.create_model_quality_job_definition(JobDefinitionName=name, **given)
    assert refusal(sagemaker.create_model_quality_job_definition, JobDefinitionName=name, **given)["Code"] == "ResourceInUse"
    described = sagemaker.describe_model_quality_job_definition(JobDefinitionName=name)
    assert {key: described[key] for key in given} == given
    update(MonitoringScheduleName=name, MonitoringScheduleConfig=config)
    assert sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleConfig"] == config


def test_requests_are_distributed_captured_and_metered(hosting, stack):
    s3, cloudwatch, sagemaker = stack.client("s3"), stack.client("cloudwatch"), hosting.sagemaker
    s3.create_bucket(Bucket=hosting.name)
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{hosting.name}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    for model in ("a", "b", "c"):
        hosting.model(model)
    config = hosting.config("first", {"a": 0.8, "b": 0.2}, DataCaptureConfig=capture)
    shadowed = hosting.config("second", {"a": 1}, {"c": 1}, DataCaptureConfig=capture)
    sagemaker.create_endpoint(EndpointName=hosting.name, EndpointConfigName=config)
    hosting.settled()
    begun = datetime.now(timezone.utc)

    def folder(variant):
        found = s3.list_objects_v2(Bucket=hosting.name, Prefix=f"capture/{hosting.name}/{variant}/{begun:%Y/%m/%d}/").get("Contents", [])
        bodies = [s3.get_object(Bucket=hosting.name, Key=one["Key"])["Body"].read().decode() for one in found]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    def metric(variant, name, stat):
        dimensions = [{"Name": "EndpointName", "Value": hosting.name}, {"Name": "VariantName", "Value": variant}]
        asked = {"Metric": {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": dimensions}, "Period": 60, "Stat": stat}
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "m", "MetricStat": asked}],
            StartTime=begun, EndTime=begun + timedelta(minutes=2), ScanBy="TimestampAscending",
        )
        return answer["MetricDataResults"][0]["Values"]

    with server("0.9") as a, server("0.1") as c, server("broken", 500) as broken:
        for model, url in (("a", a), ("b", broken), ("c", c)):
            stack.stand_in("served", {"model": f"{hosting.name}-{model}", "url": url})
        requests = [{"body": "1,2", "inference_id": f"i-{n}"} for n in range(1000)]
        answers = Counter((one["variant"], one["status"]) for one in stack.stand_in("traffic", {"endpoint": hosting.name, "requests": requests}))
        assert answers.keys() == {("a", 200), ("b", 500)} and 140 < answers["b", 500] < 260, answers
        url = f"{stack.sagemaker_url}/endpoints/{hosting.name}/invocations"
        headers = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Inference-Id": "named", "X-Amzn-SageMaker-Target-Variant": "a"}
        with urllib.request.urlopen(urllib.request.Request(url, b"3,4", headers)) as answer:
            assert (answer.read(), answer.headers["X-Amzn-Invoked-Production-Variant"]) == (b"0.9", "a")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(urllib.request.Request(url, b"3,4", headers | {"X-Amzn-SageMaker-Target-Variant": "b"}))
        assert raised.value.code == 424 and json.load(raised.value)["OriginalStatusCode"] == 500
        hosting.update(shadowed)
        hosting.settled()
        stack.stand_in("traffic", {"endpoint": hosting.name, "requests": requests[:50]})
        stack.stand_in("flush", {})
    of_a, of_b = folder("a"), folder("b")
    assert len(of_a) == answers["a", 200] + 1 + 50 and not of_b
    assert len(folder("c")) == 50
    (named,) = [line for line in of_a if line["eventMetadata"]["inferenceId"] == "named"]
    assert named["captureData"]["endpointInput"] == {"observedContentType": "text/csv", "mode": "INPUT", "data": "3,4", "encoding": "CSV"}
    assert named["captureData"]["endpointOutput"]["data"] == "0.9"
    assert sum(metric("a", "Invocations", "Sum")) == len(of_a) and sum(metric("b", "Invocations", "Sum")) == answers["b", 500] + 1
    assert sum(metric("b", "Invocation5XXErrors", "Sum")) == answers["b", 500] + 1 == sum(metric("b", "InvocationModelErrors", "Sum"))
    assert sum(metric("a", "Invocation5XXErrors", "Sum")) == 0 and sum(metric("a", "Invocation5XXErrors", "SampleCount")) == len(of_a)
    assert all(50 < value < 5_000_000 for value in metric("a", "ModelLatency", "p99"))


def test_percentiles_and_periods_match_cloudwatch(stack):
    cloudwatch, name = stack.client("cloudwatch"), f"percentiles-{uuid.uuid4().hex[:8]}"
    base = datetime.now(timezone.utc).replace(second=0, microsecond=0) - timedelta(minutes=3)
    for variant, factor in (("v", 1.0), ("v-2", 1000.0)):
        dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": variant}]
        datum = {"MetricName": "ModelLatency", "Dimensions": dimensions, "Values": [factor, 2 * factor, 100 * factor], "Counts": [90.0, 9.0, 1.0]}
        for second in (0, 9, 10, 59, 60):
            cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum | {"Timestamp": base + timedelta(seconds=second)}])

    def asked(period, stat):
        dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "v"}]
        metric = {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": dimensions}
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}],
            StartTime=base + timedelta(seconds=4), EndTime=base + timedelta(minutes=2), ScanBy="TimestampAscending",
        )["MetricDataResults"][0]
        return {int((at - base).total_seconds()): value for at, value in zip(answer["Timestamps"], answer["Values"], strict=True)}

    assert asked(10, "SampleCount") == {0: 200, 10: 100, 50: 100, 60: 100}
    assert asked(10, "Sum") == {0: 416, 10: 208, 50: 208, 60: 208}
    assert asked(10, "p99") == {0: 2, 10: 2, 50: 2, 60: 2}
    assert asked(60, "p50") == {0: 1, 60: 1} and asked(60, "p100") == {0: 100, 60: 100}
    assert asked(60, "Sum") == {0: 832, 60: 208}


def test_status_has_spelling_of_events():
    assert [upper_snake(status) for status in ("InService", "RollingBack", "Failed")] == ["IN_SERVICE", "ROLLING_BACK", "FAILED"]
