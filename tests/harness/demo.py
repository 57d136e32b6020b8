"""The demo: the whole loop on this machine, as a story, with a check of every part of it at the end."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

from .stack import ROOT, running
from .world import World, eventually, folder

REPORTS = Path(__file__).parent / "reports"
ENDPOINT, DATA_QUALITY, MODEL_QUALITY = "churn", "churn-data-quality", "churn-model-quality"
POLICY = f"""\
[remediation]
automation = "auto"

[alert]
datapoints_to_alert = 2
evaluation_period = 3

[[monitor]]
schedule = "{DATA_QUALITY}"
model = "churn"

[[monitor]]
schedule = "{MODEL_QUALITY}"
model = "churn"
"""


@dataclass
class Screen:
    """Progress on standard error, line by line; what happened on standard output. Colour only on a terminal."""

    begun: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text

    def step(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def title(self, text: str) -> None:
        print(f"\n{self._paint(text, '1')}", flush=True)

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    def check(self, what: str, holds: bool, seen: Any = None) -> None:
        if holds:
            print(f"  {self._paint('✓', '32')} {what}")
        else:
            self.failed.append(what)
            print(f"  {self._paint('✗', '31')} {what}: {seen!r}")


@dataclass
class Execution:
    """One monitoring execution of the story."""

    schedule: str
    hour: datetime
    expected: str
    report: bytes | None = None
    events: int = 1


def play(report: Path | None) -> int:
    screen = Screen()
    own = report.read_bytes() if report else None
    if report:
        described = describe(report)
        if described is None:
            return 1
        screen.step(described)
    with running(finish_after=3) as stack:
        screen.step("LocalStack and the SageMaker stand-in are up")
        # A report of the user's own is played as drift, whatever broke in it.
        policy = POLICY.replace('automation = "auto"', 'automation = "auto"\nfix_data_check_types = []') if own else POLICY
        world = World(stack, name="driftwarden", policy=policy, DashboardPages="on")
        screen.step("infra/template.yaml is deployed: functions, bus, rules, bucket, topic, queue, alarms")
        screen.step("policy: 2 datapoints to alert within an evaluation period of 3 executions")
        executions = tell_the_story(screen, world, own)
        show(screen, world, executions)
        check(screen, world, executions)
        pages(screen, world)
    took = time.monotonic() - screen.begun
    if screen.failed:
        screen.title(f"The world is not as it should be: {len(screen.failed)} check(s) failed. ({took:.0f} s)")
        return 1
    screen.title(f"The world is as it should be. ({took:.0f} s)")
    return 0


def describe(report: Path) -> str | None:
    """Reads the user's report with the program itself, so that its own error says what is wrong with it."""
    command = [str(ROOT / "target/debug/driftwarden"), "inspect", "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        told = {"error": done.stderr.strip()}
    if "error" in told:
        print(f"{report} cannot be played: {told['error']}", file=sys.stderr)
        return None
    if not told["violations"]:
        print(f"{report} lists no violations: there is nothing to alert on", file=sys.stderr)
        return None
    return f"your report: {told['monitor_type']}, {len(told['violations'])} violation(s)"


def tell_the_story(screen: Screen, world: World, own: bytes | None) -> list[Execution]:
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    hours = [now - timedelta(hours=6 - n) for n in range(6)]
    drift = own or (REPORTS / "data-quality-drift.json").read_bytes()
    more_drift = own or (REPORTS / "data-quality-more-drift.json").read_bytes()
    executions: list[Execution] = []

    def settled(schedule: str, hour: datetime) -> Callable[[], Any]:
        def look() -> Any:
            ledger = world.ledger(schedule) or {"datapoints": [], "outbox": [1]}
            known = any(parse(point["scheduled_time"]) == hour for point in ledger["datapoints"])
            return known and not ledger["outbox"]

        return look

    def clean(schedule: str, hour: datetime, say: str) -> None:
        screen.step(say)
        world.put_events(world.job_event(folder(ENDPOINT, schedule, hour), schedule))
        executions.append(Execution(schedule, hour, "Clean"))
        eventually(settled(schedule, hour), f"the datapoint of {schedule} at {hour}")

    def violations(schedule: str, hour: datetime, body: bytes, say: str, times: int = 1) -> None:
        screen.step(say)
        where = folder(ENDPOINT, schedule, hour)
        world.put_report(where, body)
        message = "CompletedWithViolations: Job completed successfully with 2 violations."
        event = world.job_event(where, schedule, exit_message=message)
        world.put_events(*[event] * times)
        executions.append(Execution(schedule, hour, "Violations", body, times))
        eventually(settled(schedule, hour), f"the datapoint of {schedule} at {hour}")

    def model_quality(hour: datetime) -> None:
        merge = world.job_event(
            "merge", MODEL_QUALITY, exit_message=None, name=f"groundtruth-merge-{hour:%Y%m%d%H%M}-0f3a9c5b7d1e2f4a6b8c0d1e"
        )
        world.put_events(merge)
        clean(MODEL_QUALITY, hour, f"{hour:%H:%M}  model quality: ground truth merged, then analyzed: clean")

    for hour in hours[:2]:
        clean(DATA_QUALITY, hour, f"{hour:%H:%M}  data quality: clean")
        model_quality(hour)
    found = "your report" if own else "violations"
    violations(DATA_QUALITY, hours[2], drift, f"{hours[2]:%H:%M}  data quality: {found}; every event is delivered 3 times", 3)
    model_quality(hours[2])
    violations(DATA_QUALITY, hours[3], more_drift, f"{hours[3]:%H:%M}  data quality: {found} again: 2 of 3")
    screen.step("       waiting for the alert, the decision and the pipeline …")
    eventually(lambda: world.executions(), "a pipeline execution")
    eventually(lambda: len(world.messages()) >= 3, "alert, decision and outcome as messages", 60)
    model_quality(hours[3])
    clean(DATA_QUALITY, hours[4], f"{hours[4]:%H:%M}  data quality on the retrained model: clean")
    clean(DATA_QUALITY, hours[5], f"{hours[5]:%H:%M}  data quality on the retrained model: clean, the alert is over")
    eventually(lambda: (world.model("churn") or {}).get("closed"), "the incident closed")
    eventually(lambda: len(world.messages()) >= 5, "the messages that the alert and the incident are over")
    eventually(lambda: b"helped" in world.pages().get("dashboard/index.html", b""), "the dashboard's overview", 60)
    return executions


def pages(screen: Screen, world: World) -> None:
    """The model dashboard as the function keeps it, copied to where a browser can open it."""
    kept = world.pages()
    for key, body in kept.items():
        path = ROOT / "target/demo" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    overview = kept.get("dashboard/index.html", b"").decode()
    screen.check("the model dashboard has the model's page", "models/churn.html" in overview, sorted(kept))
    screen.check("and says that the retraining helped", "helped" in overview, overview[-2000:])
    screen.title(f"The model dashboard: {ROOT / 'target/demo/dashboard/index.html'}")


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def dimensions(schedule: str) -> dict[str, str]:
    return {"Endpoint": ENDPOINT, "MonitoringSchedule": schedule}


def show(screen: Screen, world: World, executions: list[Execution]) -> None:
    screen.title("Datapoints, and their metrics as CloudWatch has them")
    screen.line(f"  {'scheduled':<17} {'monitoring schedule':<20} {'state':<11} {'violations':>10} {'Breaching':>10}")
    for execution in executions:
        ledger = world.ledger(execution.schedule)
        point = next(p for p in ledger["datapoints"] if parse(p["scheduled_time"]) == execution.hour)
        count = world.metric("ConstraintViolations", execution.hour, **dimensions(execution.schedule))
        breaching = world.metric("Breaching", execution.hour, **dimensions(execution.schedule))
        state = "Violations" if point["evidence"].get("report") else "Clean"
        times = f"  ({execution.events} deliveries)" if execution.events > 1 else ""
        screen.line(
            f"  {execution.hour:%Y-%m-%d %H:%M}  {execution.schedule:<20} {state:<11} "
            f"{text(count):>10} {text(breaching):>10}{times}"
        )

    screen.title("Events on the bus")
    for event in sorted(world.events(), key=lambda event: event["detail"]["time"]):
        detail = event["detail"]
        said = {
            "Model Monitor Alert State Change": lambda d: f"{d['monitoringSchedule']} {d['alertStatus']}: {d['reason']}",
            "Remediation Decided": lambda d: d["sentence"],
            "Retraining Pipeline Execution Status Change": lambda d: f"{d['incidentId']}: {d['status']}",
            "Remediation Incident Closed": lambda d: d["sentence"],
        }[event["detail-type"]](detail)
        screen.line(f"  {event['detail-type']}\n    {said}")

    model = world.model("churn")
    incident = (model["closed"] or [{}])[-1].get("incident") or model.get("incident")
    if incident:
        screen.title("The decision, as the model's document keeps it")
        decision = incident["decision"]
        screen.line(f"  incident {incident['id']}, {decision['verdict']}, policy {decision['policyVersion']}")
        for reason in decision["reasons"]:
            details = ", ".join(f"{name} {value}" for name, value in reason.items() if name != "code")
            screen.line(f"    {reason['code']}{': ' + details if details else ''}")

    screen.title("SageMaker pipeline executions")
    for run in world.executions():
        screen.line(f"  {run['displayName']}: {run['status']}, started once under the token {run['token'][:12]}…")
        for name, value in run["parameters"].items():
            screen.line(f"    {name} = {value}")

    screen.title("What people were told")
    for message in world.messages():
        screen.line(f"  ┌ {message['Subject']}")
        for line in message["Message"].rstrip().splitlines():
            screen.line(f"  │ {line}".rstrip())
        screen.line("  └")


def text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def check(screen: Screen, world: World, executions: list[Execution]) -> None:
    screen.title("Checks")
    for schedule in (DATA_QUALITY, MODEL_QUALITY):
        expected = [execution for execution in executions if execution.schedule == schedule]
        kept = world.ledger(schedule)["datapoints"]
        screen.check(f"{schedule}: one execution, one datapoint", len(kept) == len(expected), len(kept))
        for statistic, what in (("Maximum", "its value"), ("SampleCount", "published once")):
            values = [world.metric("Breaching", e.hour, statistic, **dimensions(schedule)) for e in expected]
            wanted = [1.0 if statistic == "SampleCount" or e.report else 0.0 for e in expected]
            screen.check(f"{schedule}: Breaching in CloudWatch, {what} for every execution", values == wanted, values)
    alerts = [e["detail"]["alertStatus"] for e in world.events("Model Monitor Alert State Change")]
    screen.check("the alert was raised once and ended once", sorted(alerts) == ["InAlert", "OK"], alerts)
    decisions = [e["detail"]["verdict"] for e in world.events("Remediation Decided")]
    screen.check("one decision: Retrain", decisions == ["Retrain"], decisions)
    runs = world.executions()
    screen.check("the pipeline was started exactly once", len(runs) == 1, len(runs))
    screen.check("and succeeded", [run["status"] for run in runs] == ["Succeeded"], runs)
    calls = [call for call in world.stack.stand_in("calls") if call["operation"] == "StartPipelineExecution"]
    screen.check("under one ClientRequestToken", len({call["body"]["ClientRequestToken"] for call in calls}) == 1, calls)
    model = world.model("churn")
    outcomes = [e["detail"]["outcome"] for e in world.events("Remediation Incident Closed")]
    screen.check("the incident ended repaired", outcomes == ["Repaired"], outcomes)
    screen.check("the incident is closed", model.get("incident") is None and len(model["closed"]) == 1, model)
    owed = [model["outbox"], world.ledger(DATA_QUALITY)["outbox"], world.ledger(MODEL_QUALITY)["outbox"]]
    screen.check("nothing is owed any more", owed == [[], [], []], owed)
    told = sorted(message["Subject"] for message in world.messages())
    screen.check("five messages: alert, decision, outcome, alert over, incident closed", len(told) == 5, told)
    dead = world.dead_letters.drain()
    screen.check("the dead-letter queue is empty", not dead, dead)
