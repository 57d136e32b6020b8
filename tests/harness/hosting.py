"""Hosting of the simulated SageMaker: models, endpoints, the model registry, and SageMaker Runtime.

moto stores the first three as static records. Here an endpoint changes as documented:

- It is Creating or Updating for some time, and rejects other changes meanwhile (API, UpdateEndpoint,
  UpdateEndpointWeightsAndCapacities). The old variants serve until the new ones are in service.
- A failed update is rolled back. It fails if a model is broken, or if an alarm of the deployment is in ALARM. The endpoint is then in
  service with its old configuration and a failure reason (developer guide, page `deployment-guardrails`).
- The configuration of an endpoint can be deleted. Then the endpoint cannot be updated.
- Each change of status sends `SageMaker Endpoint State Change` to the default bus, and each new or changed package
  `SageMaker Model Package State Change`.

HTTP servers that tests register for a model or a model package serve the requests. The variant is chosen by weight or by the caller,
shadow variants get copies, captured data are written to S3 in the layout of data capture, and metrics of the variants to CloudWatch
(pages `model-ab-testing`, `shadow-tests`, `model-monitor-data-capture`, `monitoring-cloudwatch`).

Mixed into `harness.sagemaker.StandIn`. Tests control it under `/_stand-in/`: see `HostingControl`.
"""

import base64
import http.client
import itertools
import json
import random
import re
import struct
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from werkzeug.wrappers import Request, Response

from .answers import REGION, arn_for, invalid, page, reject, respond

NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
# Properties that RetainAllVariantProperties keeps (API, `VariantProperty`).
RETAINED = {"DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"}
# A file of captured data is written at this number of records, or when its first record has this age in seconds.
CAPTURED, CAPTURED_FOR = 500, 3.0
# Limits of PutMetricData: values per metric, and metrics.
VALUES, METRICS = 150, 1000


def upper_snake(status: str) -> str:
    """A status in the spelling of events: `IN_SERVICE`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


def single(weight: float) -> float:
    """A weight as SageMaker stores it: with 32 bits."""
    return float(struct.unpack("f", struct.pack("f", weight))[0])


@dataclass
class Endpoint:
    """An endpoint with its serving variants."""

    name: str
    config: str
    variants: list[dict[str, Any]]
    shadows: list[dict[str, Any]]
    capture: dict[str, Any] | None
    status: str = "Creating"
    reason: str | None = None
    pending: dict[str, Any] | None = None
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    # Set by tests: duration of an update in seconds, and number of next updates that fail.
    takes: float | None = None
    failing: int = 0
    why: str = "injected by the test"

    @property
    def arn(self) -> str:
        return arn_for("endpoint", self.name.lower())


@dataclass
class Answered:
    """Response of a model to a request."""

    variant: str
    status: int
    body: bytes
    kind: str
    microseconds: int


class Hosting:
    """SageMaker's operations on models, endpoints, and packages."""

    lock: Any
    events: Any
    take_fault: Callable[[str], dict[str, Any] | None]
    fault: Callable[[dict[str, Any]], Response]

    def __init__(self, localstack_url: str):
        self.chance = random.Random(1)
        self.connections = threading.local()
        self.pool, self.copiers = ThreadPoolExecutor(12), ThreadPoolExecutor(12)

        def client(service: str) -> Any:
            return boto3.client(
                service,
                endpoint_url=localstack_url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(s3={"addressing_style": "path"}),
            )

        self.s3, self.cloudwatch = client("s3"), client("cloudwatch")
        threading.Thread(target=self.flushing, daemon=True).start()

    def clear(self) -> None:
        """Removes all models, endpoints, and packages."""
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.packages: dict[str, dict[str, Any]] = {}
        self.takes = 1.0
        # Models that fail to start, and servers of the others: by name, or by ARN of the model package.
        self.broken: dict[str, str] = {}
        self.served: dict[str, str] = {}
        self.captured: dict[tuple[str, str, str, str], list[tuple[datetime, str]]] = defaultdict(list)
        self.metered: dict[tuple[str, str], list[tuple[int, Answered]]] = defaultdict(list)
        self.copies: list[Future[Any]] = []

    # Models and endpoint configurations.

    def CreateModel(self, body: dict[str, Any]) -> Response:
        name = body["ModelName"]
        containers = body.get("Containers") or [body["PrimaryContainer"]]
        if not NAME.fullmatch(name):
            return invalid(f"Value '{name}' at 'modelName' failed to satisfy constraint")
        if name in self.models:
            return invalid(f'Cannot create already existing model "{arn_for("model", name)}".')
        for container in containers:
            package = container.get("ModelPackageName")
            if package and package not in self.packages:
                return invalid(f"Model Package {package} does not exist.")
        self.models[name] = body | {"CreationTime": time.time(), "ModelArn": arn_for("model", name)}
        return respond({"ModelArn": arn_for("model", name)})

    def DescribeModel(self, body: dict[str, Any]) -> Response:
        return self.described(self.models, body["ModelName"], "model", "model")

    def DeleteModel(self, body: dict[str, Any]) -> Response:
        return self.deleted(self.models, body["ModelName"], "model", "model")

    def ListModels(self, body: dict[str, Any]) -> Response:
        keys = ("ModelName", "ModelArn", "CreationTime")
        some = [model for name, model in self.models.items() if body.get("NameContains", "") in name]
        return page("Models", [{key: model[key] for key in keys} for model in some], body)

    def CreateEndpointConfig(self, body: dict[str, Any]) -> Response:
        name = body["EndpointConfigName"]
        variants, shadows = body["ProductionVariants"], body.get("ShadowProductionVariants", [])
        if not NAME.fullmatch(name):
            return invalid(f"Value '{name}' at 'endpointConfigName' failed to satisfy constraint")
        if name in self.configs:
            return invalid(f'Cannot create already existing endpoint configuration "{arn_for("endpoint-config", name)}".')
        if shadows and (len(shadows) != 1 or len(variants) != 1):
            return invalid("A shadow variant stands beside exactly one production variant.")
        names = [variant["VariantName"] for variant in variants + shadows]
        if not 1 <= len(variants) <= 10 or len(set(names)) != len(names):
            return invalid("An endpoint configuration has 1 to 10 production variants of different names.")
        for variant in variants + shadows:
            if variant.get("ModelName") not in self.models:
                return invalid(f'Could not find model "{arn_for("model", variant.get("ModelName"))}".')
            variant["InitialVariantWeight"] = single(variant.get("InitialVariantWeight", 1.0))
        more = {"CreationTime": time.time(), "EndpointConfigArn": arn_for("endpoint-config", name)}
        self.configs[name] = body | more
        return respond({"EndpointConfigArn": more["EndpointConfigArn"]})

    def DescribeEndpointConfig(self, body: dict[str, Any]) -> Response:
        return self.described(self.configs, body["EndpointConfigName"], "endpoint-config", "endpoint configuration")

    def DeleteEndpointConfig(self, body: dict[str, Any]) -> Response:
        # The configuration of an endpoint can be deleted, too. Then the endpoint cannot be updated.
        return self.deleted(self.configs, body["EndpointConfigName"], "endpoint-config", "endpoint configuration")

    def ListEndpointConfigs(self, body: dict[str, Any]) -> Response:
        keys = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        some = [config for name, config in self.configs.items() if body.get("NameContains", "") in name]
        return page("EndpointConfigs", [{key: config[key] for key in keys} for config in some], body)

    @staticmethod
    def described(known: dict[str, dict[str, Any]], name: str, kind: str, words: str) -> Response:
        # Tags are not part of the description.
        one = {key: value for key, value in known.get(name, {}).items() if key != "Tags"}
        return respond(one) if one else invalid(f'Could not find {words} "{arn_for(kind, name)}".')

    @staticmethod
    def deleted(known: dict[str, dict[str, Any]], name: str, kind: str, words: str) -> Response:
        return respond({}) if known.pop(name, None) else invalid(f'Could not find {words} "{arn_for(kind, name)}".')

    # Endpoints.

    def CreateEndpoint(self, body: dict[str, Any]) -> Response:
        name, config = body["EndpointName"], body["EndpointConfigName"]
        with self.lock:
            if not NAME.fullmatch(name):
                return invalid(f"Value '{name}' at 'endpointName' failed to satisfy constraint")
            if name in self.endpoints:
                return invalid(f'Cannot create already existing endpoint "{arn_for("endpoint", name)}".')
            if config not in self.configs:
                return invalid(f'Could not find endpoint configuration "{arn_for("endpoint-config", config)}".')
            endpoint = Endpoint(name, config, [], [], None)
            self.endpoints[name] = endpoint
        self.change(endpoint, lambda: self.deploy(endpoint, config, set()))
        return respond({"EndpointArn": endpoint.arn})

    def DescribeEndpoint(self, body: dict[str, Any]) -> Response:
        with self.lock:
            endpoint = self.endpoints.get(body["EndpointName"])
            if endpoint is None:
                return self.no_endpoint(body)
            wanted = ("VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount")
            variants = lambda some: [{key: variant[key] for key in wanted if key in variant} for variant in some]
            answer: dict[str, Any] = {
                "EndpointName": endpoint.name,
                "EndpointArn": endpoint.arn,
                "EndpointConfigName": endpoint.config,
                "EndpointStatus": endpoint.status,
                "CreationTime": endpoint.created,
                "LastModifiedTime": endpoint.modified,
            }
            if endpoint.variants:
                answer["ProductionVariants"] = variants(endpoint.variants)
            if endpoint.shadows:
                answer["ShadowProductionVariants"] = variants(endpoint.shadows)
            if endpoint.capture:
                answer["DataCaptureConfig"] = {
                    "EnableCapture": endpoint.capture["EnableCapture"],
                    "CaptureStatus": "Started",
                    "CurrentSamplingPercentage": endpoint.capture["InitialSamplingPercentage"],
                    "DestinationS3Uri": endpoint.capture["DestinationS3Uri"],
                    "KmsKeyId": endpoint.capture.get("KmsKeyId", ""),
                }
            if endpoint.reason:
                answer["FailureReason"] = endpoint.reason
            if endpoint.pending:
                answer["PendingDeploymentSummary"] = endpoint.pending
            return respond(answer)

    def UpdateEndpoint(self, body: dict[str, Any]) -> Response:
        config, deployment = body["EndpointConfigName"], body.get("DeploymentConfig") or {}
        with self.lock:
            endpoint = self.endpoints.get(body["EndpointName"])
            if endpoint is None:
                return self.no_endpoint(body)
            if busy := self.in_progress(endpoint):
                return busy
            for name in (config, endpoint.config):
                if name not in self.configs:
                    return invalid(f'Could not find endpoint configuration "{arn_for("endpoint-config", name)}".')
            routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
            sized = {"ALL_AT_ONCE": "Type", "CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
            if sized.get(routing.get("Type", "")) not in routing:
                return invalid("The traffic routing configuration is not complete.")
            excluded = {one["VariantPropertyType"] for one in body.get("ExcludeRetainedVariantProperties", [])}
            kept = RETAINED - excluded if body.get("RetainAllVariantProperties") else set()
            endpoint.status, endpoint.reason = "Updating", None
            variants = [{"VariantName": variant["VariantName"]} for variant in self.configs[config]["ProductionVariants"]]
            endpoint.pending = {"EndpointConfigName": config, "ProductionVariants": variants, "StartTime": time.time()}
        alarms = [alarm["AlarmName"] for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
        self.change(endpoint, lambda: self.deploy(endpoint, config, kept), alarms)
        return respond({"EndpointArn": endpoint.arn})

    def UpdateEndpointWeightsAndCapacities(self, body: dict[str, Any]) -> Response:
        with self.lock:
            endpoint = self.endpoints.get(body["EndpointName"])
            if endpoint is None:
                return self.no_endpoint(body)
            if busy := self.in_progress(endpoint):
                return busy
            variants = {variant["VariantName"]: variant for variant in endpoint.variants}
            desired = body["DesiredWeightsAndCapacities"]
            if unknown := [one["VariantName"] for one in desired if one["VariantName"] not in variants]:
                return invalid(f"Could not find variant(s) {unknown} of endpoint \"{endpoint.arn}\".")
            for one in desired:
                variant = variants[one["VariantName"]]
                variant["DesiredWeight"] = single(one.get("DesiredWeight", variant["DesiredWeight"]))
                variant["DesiredInstanceCount"] = one.get("DesiredInstanceCount", variant["DesiredInstanceCount"])
            endpoint.status = "Updating"

        def weighed() -> None:
            for variant in endpoint.variants:
                variant["CurrentWeight"], variant["CurrentInstanceCount"] = variant["DesiredWeight"], variant["DesiredInstanceCount"]

        self.change(endpoint, weighed)
        return respond({"EndpointArn": endpoint.arn})

    def DeleteEndpoint(self, body: dict[str, Any]) -> Response:
        with self.lock:
            endpoint = self.endpoints.get(body["EndpointName"])
            if endpoint is None:
                return self.no_endpoint(body)
            if endpoint.status != "Failed" and (busy := self.in_progress(endpoint)):
                return busy
            endpoint.status = "Deleting"
        self.change(endpoint, lambda: self.endpoints.pop(endpoint.name, None))
        return respond({})

    @staticmethod
    def no_endpoint(body: dict[str, Any]) -> Response:
        return invalid(f'Could not find endpoint "{arn_for("endpoint", body["EndpointName"].lower())}".')

    @staticmethod
    def in_progress(endpoint: Endpoint) -> Response | None:
        if endpoint.status in BUSY:
            return invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        return None if endpoint.status == "InService" else invalid(f'Endpoint "{endpoint.arn}" is {endpoint.status}.')

    def deploy(self, endpoint: Endpoint, config: str, kept: set[str]) -> None:
        """Gives the endpoint the variants of a configuration, except for the properties in `kept`."""
        # A copy, because the configuration can be deleted and weights change.
        known = json.loads(json.dumps(self.configs[config]))
        before = {variant["VariantName"]: variant for variant in endpoint.variants}

        def variants(name: str) -> list[dict[str, Any]]:
            some = known.get(name, [])
            for variant in some:
                old = before.get(variant["VariantName"], {})
                weight = old["DesiredWeight"] if old and "DesiredWeight" in kept else variant["InitialVariantWeight"]
                count = old["DesiredInstanceCount"] if old and "DesiredInstanceCount" in kept else variant.get("InitialInstanceCount", 1)
                variant |= {"CurrentWeight": weight, "DesiredWeight": weight, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
            return some

        endpoint.config = config
        if "DataCaptureConfig" not in kept:
            endpoint.capture = known.get("DataCaptureConfig")
        endpoint.variants, endpoint.shadows = variants("ProductionVariants"), variants("ShadowProductionVariants")

    def change(self, endpoint: Endpoint, done: Callable[[], Any], alarms: list[str] | None = None) -> None:
        """Completes a change of an endpoint after its duration, or rolls it back."""
        takes = self.takes if endpoint.takes is None else endpoint.takes
        begun = endpoint.status
        threading.Thread(target=self.changing, args=(endpoint, begun, takes, done, alarms or []), daemon=True).start()

    def changing(self, endpoint: Endpoint, begun: str, takes: float, done: Callable[[], Any], alarms: list[str]) -> None:
        self.publish_endpoint_status(endpoint, begun)
        over, why = time.monotonic() + takes, None
        while why is None and time.monotonic() < over:
            time.sleep(min(takes, 0.2))
            why = self.alarmed(alarms)
        with self.lock:
            deploys = begun == "Creating" or endpoint.pending is not None
            why = (why or self.unfit(endpoint)) if deploys else None
            if why is None:
                done()
                endpoint.status = "InService" if begun != "Deleting" else begun
            elif begun == "Creating":
                endpoint.status, endpoint.reason = "Failed", why
            else:
                endpoint.status = "RollingBack"
            if why is None:
                endpoint.pending = None
            endpoint.modified = time.time()
            status = endpoint.status
        self.publish_endpoint_status(endpoint, status)
        if status == "RollingBack":
            time.sleep(takes / 2)
            with self.lock:
                endpoint.status, endpoint.reason, endpoint.pending, endpoint.modified = "InService", why, None, time.time()
            self.publish_endpoint_status(endpoint, "InService")

    def alarmed(self, names: list[str]) -> str | None:
        if not names:
            return None
        known = self.cloudwatch.describe_alarms(AlarmNames=names)
        rung = [alarm["AlarmName"] for alarm in known["MetricAlarms"] + known.get("CompositeAlarms", []) if alarm["StateValue"] == "ALARM"]
        return f"One or more alarms are in ALARM: {', '.join(rung)}" if rung else None

    def unfit(self, endpoint: Endpoint) -> str | None:
        """Reason why the new variants fail to start; `None` if they start."""
        if endpoint.failing > 0:
            endpoint.failing -= 1
            return endpoint.why
        known = self.configs.get(endpoint.pending["EndpointConfigName"] if endpoint.pending else endpoint.config)
        if known is None:
            return "The endpoint configuration was deleted."
        for variant in known["ProductionVariants"] + known.get("ShadowProductionVariants", []):
            for name in self.identifiers(variant["ModelName"]):
                if name in self.broken:
                    return self.broken[name]
        return None

    def identifiers(self, model: str) -> list[str]:
        """Identifiers of a model: its name, packages, and data URLs."""
        known = self.models.get(model, {})
        containers = known.get("Containers") or [known.get("PrimaryContainer", {})]
        packages = [container["ModelPackageName"] for container in containers if "ModelPackageName" in container]
        specified = [of for name in packages for of in self.packages.get(name, {}).get("InferenceSpecification", {}).get("Containers", [])]
        data = [container["ModelDataUrl"] for container in containers + specified if "ModelDataUrl" in container]
        return [model, *packages, *data]

    def publish_endpoint_status(self, endpoint: Endpoint, status: str) -> None:
        now = time.time() * 1000
        detail = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config,
            "ProductionVariants": endpoint.variants,
            "EndpointStatus": upper_snake(status),
            "CreationTime": endpoint.created * 1000,
            "LastModifiedTime": now,
            "Tags": {},
        }
        self.put("SageMaker Endpoint State Change", endpoint.arn, detail)

    def put(self, detail_type: str, resource: str, detail: dict[str, Any]) -> None:
        text = json.dumps(detail, default=str)
        self.events.put_events(Entries=[{"Source": "aws.sagemaker", "DetailType": detail_type, "Resources": [resource], "Detail": text}])

    # The model registry.

    def CreateModelPackageGroup(self, body: dict[str, Any]) -> Response:
        name = body["ModelPackageGroupName"]
        if name in self.groups:
            return invalid(f"Model Package Group already exists: {arn_for('model-package-group', name)}")
        self.groups[name] = body | {"ModelPackageGroupArn": arn_for("model-package-group", name), "CreationTime": time.time()}
        return respond({"ModelPackageGroupArn": self.groups[name]["ModelPackageGroupArn"]})

    def DescribeModelPackageGroup(self, body: dict[str, Any]) -> Response:
        group = self.groups.get(body["ModelPackageGroupName"])
        if group is None:
            return invalid(f"ModelPackageGroup {body['ModelPackageGroupName']} does not exist.")
        return respond(group | {"ModelPackageGroupStatus": "Completed", "CreatedBy": {}})

    def CreateModelPackage(self, body: dict[str, Any]) -> Response:
        group = body["ModelPackageGroupName"].rsplit("/", 1)[-1]
        with self.lock:
            if group not in self.groups:
                return invalid(f"ModelPackageGroup {group} does not exist.")
            version = 1 + sum(package["ModelPackageGroupName"] == group for package in self.packages.values())
            package = body | {
                "ModelPackageGroupName": group,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn_for("model-package", f"{group}/{version}"),
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "ModelApprovalStatus": body.get("ModelApprovalStatus", "PendingManualApproval"),
                "CertifyForMarketplace": False,
                "CreationTime": time.time(),
            }
            package.pop("Tags", None)
            package.pop("ClientToken", None)
            self.packages[package["ModelPackageArn"]] = package
        self.publish_package_status(package)
        return respond({"ModelPackageArn": package["ModelPackageArn"]})

    def DescribeModelPackage(self, body: dict[str, Any]) -> Response:
        package = self.packages.get(body["ModelPackageName"])
        return respond(package) if package else invalid(f"ModelPackage {body['ModelPackageName']} does not exist.")

    def ListModelPackages(self, body: dict[str, Any]) -> Response:
        group, approval = body.get("ModelPackageGroupName"), body.get("ModelApprovalStatus")
        if group is not None and (group := group.rsplit("/", 1)[-1]) not in self.groups:
            return invalid(f"ModelPackageGroup {group} does not exist.")
        wanted = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageStatus", "ModelApprovalStatus", "CreationTime")
        some = [package for package in self.packages.values() if group in (None, package["ModelPackageGroupName"])]
        some = [package for package in some if approval in (None, package["ModelApprovalStatus"])]
        some.sort(key=lambda package: package["CreationTime"], reverse=body.get("SortOrder", "Ascending") == "Descending")
        return page("ModelPackageSummaryList", [{key: package[key] for key in wanted} for package in some], body)

    def UpdateModelPackage(self, body: dict[str, Any]) -> Response:
        package = self.packages.get(body["ModelPackageArn"])
        if package is None:
            return invalid(f"ModelPackage {body['ModelPackageArn']} does not exist.")
        changed = {key: body[key] for key in ("ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties") if key in body}
        package |= changed | {"LastModifiedTime": time.time()}
        self.publish_package_status(package)
        return respond({"ModelPackageArn": package["ModelPackageArn"]})

    def publish_package_status(self, package: dict[str, Any]) -> None:
        times = {key: datetime.fromtimestamp(package[key], timezone.utc) for key in ("CreationTime", "LastModifiedTime") if key in package}
        detail = package | {key: f"{value:%Y-%m-%dT%H:%M:%SZ}" for key, value in times.items()}
        threading.Thread(target=self.put, args=("SageMaker Model Package State Change", package["ModelPackageArn"], detail), daemon=True).start()

    # SageMaker Runtime.

    def InvokeEndpoint(self, request: Request) -> Response:
        name, data, header = request.path.split("/")[2], request.get_data(), request.headers.get
        kind = header("Content-Type") or "application/octet-stream"
        inference_id, target = header("X-Amzn-SageMaker-Inference-Id"), header("X-Amzn-SageMaker-Target-Variant")
        answered = self.answer_request(name, data, kind, inference_id, target)
        if isinstance(answered, Response):
            return answered
        headers = {"X-Amzn-Invoked-Production-Variant": answered.variant}
        if not 200 <= answered.status < 300:
            message = f"Received {answered.status} from primary container"
            more = {"Message": message, "OriginalStatusCode": answered.status, "OriginalMessage": answered.body.decode(errors="replace")[:1000]}
            return Response(json.dumps(more), 424, headers | {"X-Amzn-ErrorType": "ModelError"}, content_type="application/json")
        return Response(answered.body, 200, headers, content_type=answered.kind)

    def answer_request(self, name: str, data: bytes, kind: str, inference_id: str | None, target: str | None) -> Answered | Response:
        with self.lock:
            endpoint = self.endpoints.get(name)
            if endpoint is None or not endpoint.variants:
                return reject("ValidationError", f"Endpoint {name} of account not found.")
            variants, shadows, capture = list(endpoint.variants), list(endpoint.shadows), endpoint.capture
            weights = [variant["CurrentWeight"] for variant in variants]
            named = [variant for variant in variants if variant["VariantName"] == target]
            if target is not None and not named:
                return reject("ValidationError", f"Variant {target} not found for endpoint {name}.")
            if target is None and sum(weights) <= 0:
                return reject("ValidationError", f"No variant of endpoint {name} has a weight.")
            variant = named[0] if named else self.chance.choices(variants, weights)[0]
            copied = [shadow for shadow in shadows if self.chance.random() * sum(weights) < shadow["CurrentWeight"]]
        ask = lambda of: self.ask(name, of, capture, data, kind, inference_id)
        if copied:
            with self.lock:
                self.copies = [copy for copy in self.copies if not copy.done()] + [self.copiers.submit(ask, shadow) for shadow in copied]
        return ask(variant)

    def ask(self, endpoint: str, variant: dict[str, Any], capture: dict[str, Any] | None, data: bytes, kind: str, inference_id: str | None) -> Answered:
        """Sends a request to the model of a variant, and records metrics and captured data."""
        url = next((self.served[name] for name in self.identifiers(variant["ModelName"]) if name in self.served), None)
        at, begun = datetime.now(timezone.utc), time.perf_counter()
        status, answer, answered_as = self.forward(url, data, kind) if url else (503, b"no server of this model", "text/plain")
        answered = Answered(variant["VariantName"], status, answer, answered_as, round((time.perf_counter() - begun) * 1e6))
        with self.lock:
            self.metered[endpoint, answered.variant].append((int(at.timestamp()), answered))
            if capture and capture["EnableCapture"] and 200 <= status < 300 and self.chance.random() * 100 < capture["InitialSamplingPercentage"]:
                key = (endpoint, answered.variant, capture["DestinationS3Uri"], f"{at:%Y/%m/%d/%H}")
                self.captured[key].append((at, record(capture, at, data, kind, answered, inference_id)))
        return answered

    def forward(self, url: str, data: bytes, kind: str) -> tuple[int, bytes, str]:
        known: dict[str, http.client.HTTPConnection] = self.connections.__dict__.setdefault("known", {})
        for last in (False, True):
            parts = urlsplit(url)
            connection = known.setdefault(url, http.client.HTTPConnection(parts.netloc, timeout=60))
            try:
                connection.request("POST", parts.path or "/invocations", data, {"Content-Type": kind})
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.getheader("Content-Type", "application/octet-stream")
            except OSError as error:
                # A kept connection may have been closed in between.
                known.pop(url).close()
                if last:
                    return 503, str(error).encode(), "text/plain"
            except http.client.HTTPException as error:
                known.pop(url).close()
                if last:
                    return 503, repr(error).encode(), "text/plain"
        raise AssertionError

    def flushing(self) -> None:
        while True:
            time.sleep(1)
            try:
                self.flush(everything=False)
            except Exception as error:  # LocalStack can stop before this process.
                print(f"failed to write captured data and metrics: {error}", flush=True)

    def flush(self, everything: bool = True) -> None:
        """Writes captured data and metrics."""
        if everything:
            for copy in list(self.copies):
                copy.result()
        now = datetime.now(timezone.utc)
        with self.lock:
            ripe = lambda some: everything or len(some) >= CAPTURED or (now - some[0][0]).total_seconds() >= CAPTURED_FOR
            captured = {key: self.captured.pop(key) for key, some in list(self.captured.items()) if ripe(some)}
            metered, self.metered = self.metered, defaultdict(list)
        for (endpoint, variant, destination, hour), some in captured.items():
            bucket, _, prefix = destination.removeprefix("s3://").strip("/").partition("/")
            first = min(at for at, _ in some)
            name = f"{first:%M-%S}-{first.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
            key = "/".join(part for part in (prefix, endpoint, variant, hour, name) if part)
            self.s3.put_object(Bucket=bucket, Key=key, Body="".join(line + "\n" for _, line in some).encode())
        data = [datum for (endpoint, variant), some in metered.items() for datum in metrics(endpoint, variant, some)]
        for start in range(0, len(data), METRICS):
            self.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=data[start : start + METRICS])


def record(capture: dict[str, Any], at: datetime, data: bytes, kind: str, answered: Answered, inference_id: str | None) -> str:
    """A line of data capture."""
    header = capture.get("CaptureContentTypeHeader", {})

    def side(mode: str, content: bytes, of: str) -> dict[str, str]:
        # Data of an unknown content type are encoded.
        known = [encoding for encoding in ("Csv", "Json") if of.split(";")[0] in header.get(f"{encoding}ContentTypes", [])]
        text = content.decode() if known else base64.b64encode(content).decode()
        return {"observedContentType": of, "mode": mode, "data": text, "encoding": known[0].upper() if known else "BASE64"}

    modes = {option["CaptureMode"] for option in capture["CaptureOptions"]}
    sides = {}
    if modes & {"Input", "InputAndOutput"}:
        sides["endpointInput"] = side("INPUT", data, kind)
    if modes & {"Output", "InputAndOutput"}:
        sides["endpointOutput"] = side("OUTPUT", answered.body, answered.kind)
    metadata = {"eventId": str(uuid.uuid4())} | ({"inferenceId": inference_id} if inference_id else {})
    metadata["inferenceTime"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps({"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"})


def metrics(endpoint: str, variant: str, some: list[tuple[int, Answered]]) -> list[dict[str, Any]]:
    """Metrics of a variant for some requests, per second."""
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    data = []
    for second, group in itertools.groupby(sorted(some, key=lambda one: one[0]), key=lambda one: one[0]):
        answers = [answered for _, answered in group]
        values = {
            "Invocations": [1] * len(answers),
            "ModelLatency": [answered.microseconds for answered in answers],
            "Invocation4XXErrors": [int(400 <= answered.status < 500) for answered in answers],
            "Invocation5XXErrors": [int(answered.status >= 500) for answered in answers],
            "InvocationModelErrors": [int(not 200 <= answered.status < 300) for answered in answers],
        }
        for name, seen in values.items():
            counted = sorted(Counter(seen).items())
            for start in range(0, len(counted), VALUES):
                part = counted[start : start + VALUES]
                data.append({
                    "MetricName": name,
                    "Dimensions": dimensions,
                    "Timestamp": datetime.fromtimestamp(second, timezone.utc),
                    "Values": [float(value) for value, _ in part],
                    "Counts": [float(count) for _, count in part],
                    "Unit": "Microseconds" if name == "ModelLatency" else "None",
                })
    return data


class HostingControl:
    """Control API for hosting.

    POST /_stand-in/served      {"model", "url"}: the server of a model, by model name or ARN of the model package
    POST /_stand-in/broken      {"model", "reason"}: a model that fails to start, by name, model package, or data URL
    POST /_stand-in/endpoint    {"EndpointName"?, "takes"?, "failing"?, "why"?, "status"?}: of one endpoint or of all:
                                seconds of each change; number of next deployments that fail; a fixed status
    GET  /_stand-in/endpoints   every endpoint: status, configuration
    POST /_stand-in/traffic     {"endpoint", "requests": [{"body", "inference_id"?, "target_variant"?, "content_type"?}]}: calls
                                InvokeEndpoint for each; returns variant, status, and body of each
    POST /_stand-in/flush       {}: writes captured data to S3 and metrics to CloudWatch before it returns
    """

    stand_in: Any

    def served(self, body: dict[str, Any]) -> Any:
        self.stand_in.served[body["model"]] = body["url"]
        return {}

    def broken(self, body: dict[str, Any]) -> Any:
        self.stand_in.broken[body["model"]] = body.get("reason", "The primary container for production variant did not pass the ping health check.")
        return {}

    def endpoint(self, body: dict[str, Any]) -> Any:
        of = self.stand_in.endpoints[body["EndpointName"]] if "EndpointName" in body else self.stand_in
        with self.stand_in.lock:
            for key in ("takes", "failing", "why", "status"):
                if key in body:
                    setattr(of, key, body[key])
        return {}

    def endpoints(self, _: None) -> Any:
        return {name: {"status": one.status, "config": one.config} for name, one in self.stand_in.endpoints.items()}

    def traffic(self, body: dict[str, Any]) -> Any:
        def one(request: dict[str, Any]) -> dict[str, Any]:
            kind, data = request.get("content_type", "text/csv"), request["body"].encode()
            answered = self.stand_in.answer_request(body["endpoint"], data, kind, request.get("inference_id"), request.get("target_variant"))
            if isinstance(answered, Response):
                return {"variant": None, "status": answered.status_code, "body": answered.get_data(as_text=True)}
            return {"variant": answered.variant, "status": answered.status, "body": answered.body.decode(errors="replace")}

        return list(self.stand_in.pool.map(one, body["requests"]))

    def flush(self, _: Any) -> Any:
        self.stand_in.flush()
        return {}
