"""Endpoints with candidates, the resources around an experiment, and callers of the endpoint."""

import itertools
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .stack import ACCOUNT, REGION
from .world import World, eventually

# Rows of CSV, and the label of each.
Request = tuple[list[str], list[str]]
# Name of the score in captured data: the first column of the prediction.
ANALYSIS_CONFIG = {"problem_type": "BinaryClassification", "probability_attribute": "0"}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/hosting"
# Common settings of experiments in tests: seconds instead of hours.
QUICK: dict[str, Any] = {
    "mode": "variants",
    "traffic": [50.0],
    "step_lasts": "3s",
    "bake": "3s",
    "maximum_duration": "5m",
    "inconclusive": "roll-back",
    "effect": 0.1,
    "minimum_sample": 100,
    "metrics_period": "10s",
    "guardrails": [],
}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


class Hosted:
    """A model on an endpoint, its model package group, and requests to it. Labels arrive late or never."""

    def __init__(self, world: World, name: str, variants: dict[str, tuple[float, str]], capture: bool = True, **more: Any):
        """Creates the endpoint. `variants` has weight and model server URL by variant name."""
        self.world, self.stack, self.name = world, world.stack, name
        self.sagemaker, self.s3 = self.stack.client("sagemaker"), self.stack.client("s3")
        self.bucket = world.reports
        self.weights = {variant: weight for variant, (weight, _) in variants.items()}
        self.labels: list[tuple[datetime, str, list[str]]] = []
        self.shares: Counter[str] = Counter()
        self.sent = itertools.count(1)
        self.config = f"{name}-{uuid.uuid4().hex[:6]}"
        self.sagemaker.create_model_package_group(ModelPackageGroupName=name)
        self.s3.put_object(Bucket=self.bucket, Key=f"config/{name}.json", Body=json.dumps(ANALYSIS_CONFIG).encode())
        production = []
        for variant, (weight, url) in variants.items():
            model = f"{self.config}-{variant}"
            self.sagemaker.create_model(ModelName=model, PrimaryContainer={"ModelPackageName": self.package(url)}, ExecutionRoleArn=ROLE)
            instance = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
            production.append({"VariantName": variant, "ModelName": model, "InitialVariantWeight": weight} | instance)
        captured = {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{self.bucket}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        }
        extra = ({"DataCaptureConfig": captured} if capture else {}) | more
        self.sagemaker.create_endpoint_config(EndpointConfigName=self.config, ProductionVariants=production, **extra)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=self.config)
        eventually(self.in_service, f"endpoint {name} in service")

    def policy(self, **settings: Any) -> str:
        """The model's table in the policy."""
        where = {"data": f"s3://{self.bucket}/capture/{self.name}", "ground_truth": f"s3://{self.bucket}/labels/{self.name}"}
        where |= {"config": f"s3://{self.bucket}/config/{self.name}.json"}
        given = QUICK | {"capture": where} | settings
        return f'[[model]]\nname = "{self.name}"\n[model.promotion]\n' + "".join(f"{key} = {toml(value)}\n" for key, value in given.items())

    def package(self, url: str, approval: str = "Approved", run: str | None = None, **more: Any) -> str:
        """Registers a model package, as the last step of a retraining pipeline does."""
        container = {"Image": "image", "ModelDataUrl": f"s3://{self.bucket}/models/{uuid.uuid4().hex}.tar.gz"}
        run = run or f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{self.world.pipeline}/execution/{uuid.uuid4().hex[:12]}"
        # The server first: the package may be deployed as soon as it is registered.
        self.stack.stand_in("served", {"model": container["ModelDataUrl"], "url": url})
        registered = self.sagemaker.create_model_package(
            ModelPackageGroupName=self.name,
            InferenceSpecification={"Containers": [container], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]},
            ModelApprovalStatus=approval,
            MetadataProperties={"GeneratedBy": run},
            **more,
        )
        return str(registered["ModelPackageArn"])

    # Callers.

    def ask(self, requests: Iterable[Request], target: Callable[[list[str]], str | None] | None = None) -> list[dict[str, Any]]:
        """Sends requests to the endpoint. `target` chooses the variant if callers do."""
        requests = list(requests)
        variants = sorted(self.describe()["weights"]) if target else []
        asked = []
        for rows, truth in requests:
            inference_id = f"{self.name}-{next(self.sent)}"
            chosen = {"target_variant": of} if target and (of := target(variants)) else {}
            asked.append({"body": "\n".join(rows), "inference_id": inference_id} | chosen)
            self.labels.append((datetime.now(timezone.utc), inference_id, truth))
        answers = self.stack.stand_in("traffic", {"endpoint": self.name, "requests": asked})
        self.shares.update(answer["variant"] for answer in answers)
        return list(answers)

    def label(self, after: float) -> None:
        """Writes the ground truth of requests that are at least `after` seconds old."""
        now = datetime.now(timezone.utc)
        known = [one for one in self.labels if (now - one[0]).total_seconds() >= after]
        self.labels = self.labels[len(known) :]
        for hour, some in itertools.groupby(known, key=lambda one: f"{one[0]:%Y/%m/%d/%H}"):
            lines = [
                json.dumps({
                    "groundTruthData": {"data": "\n".join(truth), "encoding": "CSV"},
                    "eventMetadata": {"eventId": inference_id},
                    "eventVersion": "0",
                })
                for _, inference_id, truth in some
            ]
            key = f"labels/{self.name}/{hour}/{now:%M%S}-{uuid.uuid4().hex}.jsonl"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body="\n".join(lines).encode())

    # Results.

    def in_service(self) -> bool:
        return bool(self.sagemaker.describe_endpoint(EndpointName=self.name)["EndpointStatus"] == "InService")

    def describe(self) -> dict[str, Any]:
        seen = self.sagemaker.describe_endpoint(EndpointName=self.name)
        weights = {variant["VariantName"]: variant["CurrentWeight"] for variant in seen["ProductionVariants"]}
        return {"status": seen["EndpointStatus"], "config": seen["EndpointConfigName"], "weights": weights, "reason": seen.get("FailureReason")}

    def open(self) -> Any:
        return (self.world.experiments(self.name) or {}).get("experiment")

    def ended(self) -> Any:
        """The latest ended experiment, if none is open and no effects are pending."""
        document = self.world.experiments(self.name) or {}
        finished = document.get("ended") and not document.get("experiment") and not document.get("outbox")
        return document["ended"][-1] if finished else None

    def changes(self) -> list[Any]:
        """Published events `Experiment State Change`, each once."""
        changes = {event["detail"]["id"]: event["detail"] for event in self.world.events("Experiment State Change")}
        return sorted((one for one in changes.values() if one["model"] == self.name), key=lambda one: one["time"])

    def reasons(self) -> set[str]:
        return {reason["code"] for change in self.changes() for reason in change.get("reasons", [])}

    def is_restored(self) -> bool:
        """Whether the endpoint has its original state and Driftwarden's resources are removed."""
        seen = self.describe()
        proportions = lambda some: {name: round(weight / sum(some.values()), 4) for name, weight in some.items()}
        same = seen["config"] == self.config and proportions(seen["weights"]) == proportions(self.weights)
        return same and seen["status"] == "InService" and not self.leftovers()

    def leftovers(self) -> list[str]:
        """Models and endpoint configurations that Driftwarden created."""
        prefix = f"driftwarden-{self.name[:32].rstrip('-')}-"
        configs = self.sagemaker.list_endpoint_configs(NameContains=prefix)["EndpointConfigs"]
        models = self.sagemaker.list_models(NameContains=prefix)["Models"]
        return [one["EndpointConfigName"] for one in configs] + [one["ModelName"] for one in models]


@dataclass
class Callers:
    """Callers that send requests at a steady rate, one thread per endpoint. Labels arrive late."""

    asking: dict[str, tuple[Hosted, Callable[[], Request], Callable[[list[str]], str | None] | None]] = field(default_factory=dict)
    requests_a_second: int = 20
    labels_after: float = 2.0

    def add(self, hosted: Hosted, request: Callable[[], Request], target: Callable[[list[str]], str | None] | None = None) -> None:
        self.asking[hosted.name] = (hosted, request, target)

    def __enter__(self) -> "Callers":
        self.over = threading.Event()
        self.failure: Exception | None = None
        self.threads = [threading.Thread(target=self._call, args=one, daemon=True) for one in self.asking.values()]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.failure:
            raise self.failure

    def _call(self, hosted: Hosted, request: Callable[[], Request], target: Callable[[list[str]], str | None] | None) -> None:
        try:
            while not self.over.is_set():
                begun = time.monotonic()
                hosted.ask([request() for _ in range(self.requests_a_second)], target)
                hosted.label(self.labels_after)
                self.over.wait(max(1 - (time.monotonic() - begun), 0))
        except Exception as failure:
            self.failure = failure


def ticked(world: World, look: Callable[[], Any], what: str, seconds: float = 180, every: float = 1.0) -> Any:
    """Invokes promote for ticks until the result of `look` is true, and returns the result."""

    def tick() -> Any:
        world.promote()
        return look()

    return eventually(tick, what, seconds, every)


@contextmanager
def answering() -> Iterator[Callable[..., str]]:
    """Runs a model server. Yields a function that returns the URL of a model with a given accuracy and delay."""

    class Model(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            _, accuracy, seconds = self.path.split("/")
            rows = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
            time.sleep(float(seconds))
            right = lambda hard, label: (float(hard) < float(accuracy)) == (label == "1")
            body = "\n".join("0.9" if right(*row.split(",")) else "0.1" for row in rows).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield lambda accuracy, slower_by=0: f"http://127.0.0.1:{server.server_address[1]}/{accuracy}/{slower_by}"
    finally:
        server.shutdown()
        server.server_close()


def synthetic(chance: random.Random, rows: int = 2) -> Request:
    """Rows of difficulty and label. A model of accuracy p predicts a row correctly if its difficulty is less than p."""
    some = [(chance.random(), chance.randint(0, 1)) for _ in range(rows)]
    return [f"{hard:.6f},{label}" for hard, label in some], [str(label) for _, label in some]
