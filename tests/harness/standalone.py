"""The demo without Model Monitor: the input of a real, served model drifts at hour 10. Native analyses of captured data find it, the
window raises the alert, the decision is Retrain, a pipeline retrains, and the next hours are clean."""

import csv
import io
import json
import random
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Iterator

from .demo import Screen, parse, text
from .stack import ROOT, Failed, running
from .world import FLEET, World, eventually

ENDPOINT, QUALITY, DRIFT = "screening", "screening-model-quality", "screening-data-quality"
DRIFTWARDEN = ROOT / "target/debug/driftwarden"
SERVED = Path(__file__).with_name("served_model.py")
# Measurements that are too large from hour 10 on, because a scanner is recalibrated, with their factors.
RECALIBRATED = {"mean_radius": 1.2, "worst_radius": 1.2}
DRIFTS_AT = 10
# The second breaching datapoint raises the alert, which leads to the decision. A clean hour clears the alerts and closes the incident.
DRIFTED, VERIFIED = 2, 1
ROWS, ROWS_A_REQUEST = 600, 20
POLICY = FLEET + """
[remediation]
automation = "auto"
decide_after = "0s"
verify_executions = 1
close_after = 1
reopen_within = "0m"

[alert]
datapoints_to_alert = 2
evaluation_period = 2

[[monitor]]
schedule = "{drift}"
model = "{model}"

[[monitor]]
schedule = "{quality}"
model = "{model}"

[[analysis]]
schedule = "{drift}"
endpoint = "{endpoint}"
expression = "rate(1 hour)"
data = "s3://{bucket}/capture/{endpoint}/AllTraffic"
baseline = "s3://{bucket}/baselines/{drift}"
output = "s3://{bucket}/reports"

[[analysis]]
schedule = "{quality}"
monitor_type = "ModelQuality"
endpoint = "{endpoint}"
expression = "rate(1 hour)"
data = "s3://{bucket}/capture/{endpoint}/AllTraffic"
ground_truth = "s3://{bucket}/labels/{endpoint}"
baseline = "s3://{bucket}/baselines/{quality}"
output = "s3://{bucket}/reports"
"""
# Names of score and label in the training data. A response has no names, and is read as the score.
CONFIG = {"problem_type": "BinaryClassification", "probability_attribute": "score", "ground_truth_attribute": "benign"}


class Model:
    """The model, its training, and the endpoint that serves it. They run as processes in another Python environment."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.python = ROOT / ".venv/demo/bin/python"
        if not self.python.exists():
            raise Failed("error: scikit-learn is not installed\nhint: run `bash tests/setup.sh demo`")
        self._run("rows", folder / "all.csv")
        with (folder / "all.csv").open(newline="") as file:
            self.header, *self.patients = csv.reader(file)
        # 80% of the patients are for training.
        chosen = random.Random(1).sample(self.patients, len(self.patients) * 4 // 5)
        self.trained = self.train(chosen, "first")

    def _run(self, *arguments: Any) -> str:
        done = subprocess.run([self.python, SERVED, *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"error: the model process failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def train(self, rows: list[list[str]], name: str) -> float:
        """Trains a model on labeled rows and creates its baselines from them. Returns its accuracy on them."""
        source, scored = self.folder / f"{name}.csv", self.folder / f"{name}-scored.csv"
        with source.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *rows])
        accuracy = float(self._run("train", source, self.folder / f"{name}.model", scored))
        without_label = self.folder / f"{name}-drift.csv"
        with scored.open(newline="") as read, without_label.open("w", newline="") as write:
            csv.writer(write, lineterminator="\n").writerows(row[:-1] for row in csv.reader(read))
        driftwarden("baseline", without_label, "--output", self.folder / name / DRIFT)
        (self.folder / "config.json").write_text(json.dumps(CONFIG))
        quality = self.folder / name / QUALITY
        driftwarden("baseline", scored, "--monitor-type", "ModelQuality", "--config", self.folder / "config.json", "--output", quality)
        return accuracy

    def serve(self) -> None:
        self.process = subprocess.Popen(
            [self.python, SERVED, "serve", self.folder / "first.model", self.folder / "capture"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        port = self.process.stdout.readline().strip()
        if not port:
            raise Failed("error: the endpoint of the model did not start")
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def deploy(self, name: str) -> None:
        self._post("/model", str(self.folder / f"{name}.model"), {})

    def ask(self, rows: list[list[str]], hour: datetime, inference_id: str) -> list[float]:
        headers = {"Content-Type": "text/csv", "X-Hour": hour.isoformat(), "X-Amzn-SageMaker-Inference-Id": inference_id}
        body = "\n".join(",".join(row) for row in rows)
        return [float(line) for line in self._post(f"/endpoints/{ENDPOINT}/invocations", body, headers).splitlines()]

    def _post(self, path: str, body: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self.url + path, body.encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()


def driftwarden(*arguments: Any) -> None:
    done = subprocess.run([DRIFTWARDEN, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"error: driftwarden {arguments[0]} failed: {done.stderr.strip()}")


@dataclass
class Hour:
    """An hour of traffic, and the results of its analyses."""

    number: int
    begins: datetime
    accuracy: float
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)

    @property
    def scheduled(self) -> datetime:
        """Scheduled time of the execution that analyzes this hour: its end."""
        return self.begins + timedelta(hours=1)

    def status(self, schedule: str) -> str:
        return self.found[schedule]["monitoringExecutionStatus"]


class Story:
    """Plays the hours of the clinic, one after another."""

    def __init__(self, screen: Screen, world: World, folder: Path, rows: int = ROWS, drifts_at: int = DRIFTS_AT):
        self.screen, self.world, self.rows, self.drifts_at = screen, world, rows, drifts_at
        self.model = Model(folder)
        screen.step(f"a model is trained on {len(self.model.patients) * 4 // 5} of {len(self.model.patients)} patients; accuracy {self.model.trained:.1%}")
        self.s3 = world.stack.client("s3")
        names = {"drift": DRIFT, "quality": QUALITY, "endpoint": ENDPOINT, "model": ENDPOINT, "bucket": self.world.reports}
        self.world.put_policy(POLICY.format(**names))
        self.upload("first")
        screen.step("infra/template.yaml is deployed; two [[analysis]] tables of the policy: data quality and model quality, every hour")
        self.hours: list[Hour] = []
        now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
        # The drifted hours end now, because a monitor without recent executions is silent, and retrains nothing. The execution of the
        # next hour is scheduled after the retraining: only that shows whether it repaired the model.
        self.first = now - timedelta(hours=drifts_at + DRIFTED)

    def upload(self, name: str) -> None:
        """Uploads the baselines of a model to the folders that the policy names."""
        for schedule in (DRIFT, QUALITY):
            for file in (self.model.folder / name / schedule).iterdir():
                self.s3.put_object(Bucket=self.world.reports, Key=f"baselines/{schedule}/{file.name}", Body=file.read_bytes())

    def traffic(self, number: int) -> Hour:
        """Plays an hour of requests, with captured data and labels."""
        begins = self.first + timedelta(hours=number)
        chance = random.Random(100 + number)
        labels, right = [], 0
        for request in range(self.rows // ROWS_A_REQUEST):
            chosen = chance.choices(self.model.patients, k=ROWS_A_REQUEST)
            rows = [self.measured(patient, number) for patient in chosen]
            inference_id = f"{ENDPOINT}-{number}-{request}"
            scores = self.model.ask(rows, begins + timedelta(minutes=request % 60), inference_id)
            truth = [patient[-1] for patient in chosen]
            right += sum((score >= 0.5) == (label == "1") for score, label in zip(scores, truth, strict=True))
            labels.append({
                "groundTruthData": {"data": "\n".join(truth), "encoding": "CSV"},
                "eventMetadata": {"eventId": inference_id},
                "eventVersion": "0",
            })
        key = f"{begins:%Y/%m/%d/%H}"
        captured = (self.model.folder / "capture" / key / "captured.jsonl").read_bytes()
        self.s3.put_object(Bucket=self.world.reports, Key=f"capture/{ENDPOINT}/AllTraffic/{key}/captured.jsonl", Body=captured)
        truth = "\n".join(map(json.dumps, labels)).encode()
        self.s3.put_object(Bucket=self.world.reports, Key=f"labels/{ENDPOINT}/{key}/labels.jsonl", Body=truth)
        hour = Hour(number, begins, right / (self.rows // ROWS_A_REQUEST * ROWS_A_REQUEST))
        self.hours.append(hour)
        return hour

    def measured(self, patient: list[str], number: int) -> list[str]:
        """Measurements of a patient by the scanner in that hour."""
        factor = lambda name: RECALIBRATED.get(name, 1.0) if number >= self.drifts_at else 1.0
        return [f"{float(value) * factor(name):.5f}" for name, value in zip(self.model.header[:-1], patient, strict=False)]

    def analyze(self, number: int) -> Hour:
        """Plays an hour of traffic and runs both executions that analyze it."""
        hour = self.traffic(number)
        for schedule in (DRIFT, QUALITY):
            request = {"schedule": schedule, "scheduledTime": hour.scheduled.strftime("%Y-%m-%dT%H:%M:%SZ")}
            (hour.found[schedule],) = self.world.analyze(**request)["executions"]
            eventually(lambda of=schedule: self.settled(of, hour.scheduled), f"the datapoint of {schedule} at {hour.scheduled}")
        hour.features = self.violated(hour)
        found = f"drift in {', '.join(hour.features)}" if hour.features else "clean"
        quality = "clean" if hour.status(QUALITY) == "Completed" else "accuracy too low"
        self.screen.step(f"hour {number:2}  {self.rows} patients, accuracy {hour.accuracy:.1%}; data quality: {found}; model quality: {quality}")
        return hour

    def settled(self, schedule: str, scheduled: datetime) -> bool:
        ledger = self.world.ledger(schedule) or {"datapoints": [], "outbox": [1]}
        return not ledger["outbox"] and any(parse(point["scheduled_time"]) == scheduled for point in ledger["datapoints"])

    def violated(self, hour: Hour) -> list[str]:
        if hour.status(DRIFT) != "CompletedWithViolations":
            return []
        key = f"reports/{ENDPOINT}/{DRIFT}/{hour.scheduled:%Y/%m/%d/%H}/constraint_violations.json"
        report = json.load(self.s3.get_object(Bucket=self.world.reports, Key=key)["Body"])
        return sorted({violation["feature_name"] for violation in report["violations"]})

    def retrain(self) -> None:
        """Plays the steps of the pipeline: reads the captured data and labels since the drift from S3, trains, creates baselines from the
        training data, and deploys. SageMaker runs them in containers, here this process does."""
        run = eventually(self.world.executions, "a pipeline execution", 60)[0]
        self.screen.step(f"       pipeline execution {run['displayName']} started for {run['parameters']['DriftedFeatures']}; it retrains …")
        rows = list(self.drifted_rows())
        accuracy = self.model.train(rows, "second")
        self.upload("second")
        self.model.deploy("second")
        self.world.finish(run["arn"])
        self.screen.step(f"       … on {len(rows):,} captured patients with labels, and deploys; accuracy {accuracy:.1%}")

    def drifted_rows(self) -> Iterator[list[str]]:
        for hour in self.hours:
            if hour.number < self.drifts_at:
                continue
            key = f"{hour.begins:%Y/%m/%d/%H}"
            lines = lambda name: self.s3.get_object(Bucket=self.world.reports, Key=name)["Body"].read().splitlines()
            labels = {
                line["eventMetadata"]["eventId"]: line["groundTruthData"]["data"].splitlines()
                for line in map(json.loads, lines(f"labels/{ENDPOINT}/{key}/labels.jsonl"))
            }
            for line in map(json.loads, lines(f"capture/{ENDPOINT}/AllTraffic/{key}/captured.jsonl")):
                rows = csv.reader(io.StringIO(line["captureData"]["endpointInput"]["data"]))
                for row, label in zip(rows, labels[line["eventMetadata"]["inferenceId"]], strict=True):
                    yield [*row, label]

    def play(self) -> None:
        self.model.serve()
        try:
            self.screen.step(f"the endpoint serves at {self.model.url} and captures requests and predictions")
            for number in range(self.drifts_at):
                self.analyze(number)
            self.screen.step(f"hour {self.drifts_at}  the scanner is recalibrated: two measurements are now 20% larger")
            number = self.drifts_at + DRIFTED
            for drifted in range(self.drifts_at, number):
                self.analyze(drifted)
            self.retrain()
            eventually(self.succeeded, "the event about the end of the pipeline execution", 60)
            for verified in range(number, number + VERIFIED):
                self.analyze(verified)
            eventually(lambda: (self.world.model(ENDPOINT) or {}).get("closed"), "the incident closed", 60)
            eventually(lambda: not self.world.model(ENDPOINT)["outbox"], "no pending effects", 60)
        finally:
            self.model.stop()

    def succeeded(self) -> bool:
        changes = self.world.events("Retraining Pipeline Execution Status Change")
        return any(event["detail"]["status"] == "Succeeded" for event in changes)


def show(screen: Screen, story: Story) -> None:
    screen.title("Hours, with the results of the native analyses")
    screen.line(f"  {'hour':>4}  {'patients':>8}  {'accuracy':>8}  {'data quality':<24} {'model quality':<24} drifted")
    for hour in story.hours:
        note = "  ← the scanner is recalibrated" if hour.number == story.drifts_at else ""
        screen.line(
            f"  {hour.number:>4}  {story.rows:>8}  {hour.accuracy:>8.1%}  {hour.status(DRIFT):<24} {hour.status(QUALITY):<24} "
            f"{', '.join(hour.features)}{note}"
        )
    screen.title("Notifications")
    for message in story.world.messages():
        screen.line(f"  ┌ {message['Subject']}")
        for line in message["Message"].rstrip().splitlines():
            screen.line(f"  │ {line}".rstrip())
        screen.line("  └")
    screen.title("CloudWatch metrics with Model Monitor's names")
    last = story.hours[story.drifts_at]
    dimensions = [{"Name": "Endpoint", "Value": ENDPOINT}, {"Name": "MonitoringSchedule", "Value": DRIFT}]
    for feature in RECALIBRATED:
        answer = story.world.stack.client("cloudwatch").get_metric_statistics(
            Namespace="aws/sagemaker/Endpoints/data-metrics", MetricName=f"feature_baseline_drift_{feature}", Dimensions=dimensions,
            StartTime=last.scheduled, EndTime=last.scheduled + timedelta(minutes=1), Period=60, Statistics=["Maximum"],
        )
        value = answer["Datapoints"][0]["Maximum"] if answer["Datapoints"] else None
        screen.line(f"  feature_baseline_drift_{feature} at hour {story.drifts_at}: {text(value)}")


def check(screen: Screen, story: Story) -> None:
    screen.title("Checks")
    world, hours = story.world, story.hours
    before = [hour for hour in hours if hour.number < story.drifts_at]
    drifted = [hour for hour in hours if story.drifts_at <= hour.number < story.drifts_at + DRIFTED]
    after = [hour for hour in hours if hour.number >= story.drifts_at + DRIFTED]
    statuses = lambda some: [hour.status(schedule) for hour in some for schedule in (DRIFT, QUALITY)]
    screen.check(f"the first {story.drifts_at} hours are clean", set(statuses(before)) == {"Completed"} and len(before) == story.drifts_at, statuses(before))
    screen.check(f"from hour {story.drifts_at} on, both analyses find violations", set(statuses(drifted)) == {"CompletedWithViolations"}, statuses(drifted))
    named = [hour.features for hour in drifted]
    # The model's score depends on them.
    fits = all(set(RECALIBRATED) <= set(some) <= {*RECALIBRATED, "score"} for some in named)
    screen.check("drift is found in the recalibrated measurements, and at most in the score", fits, named)
    decisions = [event["detail"]["verdict"] for event in world.events("Remediation Decided")]
    screen.check("one decision: Retrain", decisions.count("Retrain") == 1, decisions)
    runs = world.executions()
    screen.check("the pipeline was started exactly once and succeeded", [run["status"] for run in runs] == ["Succeeded"], runs)
    mean = lambda some: sum(hour.accuracy for hour in some) / len(some)
    better = mean(after) > mean(drifted) + 0.03
    screen.check(f"live accuracy: {mean(before):.1%} before, {mean(drifted):.1%} with drift, {mean(after):.1%} retrained", better, mean(after))
    screen.check("the hours after the retraining are clean", set(statuses(after)) == {"Completed"}, statuses(after))
    outcomes = [event["detail"]["outcome"] for event in world.events("Remediation Incident Closed")]
    screen.check("the incident is closed: Repaired", outcomes == ["Repaired"], outcomes)
    calls = {call["operation"] for call in world.stack.stand_in("calls")}
    monitor = {name for name in calls if "Monitoring" in name or "Processing" in name}
    screen.check("no API of Model Monitor was called", not monitor, monitor)
    dead = world.dead_letters.drain()
    screen.check("the dead-letter queue is empty", not dead, dead)


def play() -> int:
    screen = Screen()
    with running() as stack:
        screen.step("LocalStack and a simulated SageMaker are running")
        folder = stack.folder / "clinic"
        folder.mkdir()
        story = Story(screen, World(stack), folder)
        story.play()
        show(screen, story)
        check(screen, story)
    return screen.conclude()


if __name__ == "__main__":
    sys.exit(play())
