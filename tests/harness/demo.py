"""The demo: plays the whole loop on this machine, and checks every part of the result."""

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
OVERVIEW = ROOT / "target/demo/dashboard/index.html"
ENDPOINT, DATA_QUALITY, MODEL_QUALITY = "churn", "churn-data-quality", "churn-model-quality"
POLICY = f"""\
[remediation]
automation = "auto"
decide_after = "0s"
verify_executions = 2
close_after = 1
reopen_within = "0m"

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
    """Progress goes to standard error, results to standard output. Color is used only on a terminal."""

    begun: float = field(default_factory=time.monotonic)
    checks: int = 0
    failed: list[str] = field(default_factory=list)

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text

    def step(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def title(self, text: str) -> None:
        print(f"\n{self._paint(text, '1')}", flush=True)

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    def check(self, what: str, passed: bool, seen: Any = None) -> None:
        self.checks += 1
        if passed:
            print(f"  {self._paint('✓', '32')} {what}")
        else:
            self.failed.append(what)
            print(f"  {self._paint('✗', '31')} {what}: {seen!r}")

    def conclude(self, where: str = "") -> int:
        """Prints the result of the checks and where the files are. Returns the exit code."""
        took = time.monotonic() - self.begun
        if self.failed:
            self.title(f"{len(self.failed)} of {self.checks} checks failed ({took:.0f} s).")
            return 1
        self.title(f"All {self.checks} checks passed ({took:.0f} s). {where}".rstrip())
        return 0


@dataclass
class Execution:
    """One monitoring execution of the demo."""

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
        screen.step("LocalStack and a simulated SageMaker are running")
        # The user's report is always played as drift, even if its check types indicate broken data.
        policy = POLICY.replace('automation = "auto"', 'automation = "auto"\nfix_data_check_types = []') if own else POLICY
        world = World(stack, name="driftwarden", policy=policy, DashboardPages="on")
        screen.step("infra/template.yaml is deployed: functions, event bus, rules, bucket, topic, queue, alarms")
        screen.step("policy: alert at 2 breaching datapoints of the last 3 executions; retrain automatically")
        executions = play_executions(screen, world, own)
        show(screen, world, executions)
        check(screen, world, executions)
        pages(screen, world)
    return screen.conclude(f"Dashboard: {OVERVIEW.relative_to(ROOT)}")


def describe(report: Path) -> str | None:
    """Describes the user's report, as `driftwarden inspect` reads it; `None` if it cannot be played."""
    command = [str(ROOT / "target/debug/driftwarden"), "inspect", "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        contents = json.loads(done.stdout)
    except json.JSONDecodeError:
        contents = {"error": done.stderr.strip().removeprefix("error: ")}
    if "error" in contents:
        print(f"error: {contents['error']}", file=sys.stderr)
        return None
    if not contents["violations"]:
        print(f"error: {report}: the report has no violations\nhint: pass a report with at least one violation", file=sys.stderr)
        return None
    return f"your report: {contents['monitor_type']}, {plural(len(contents['violations']), 'violation')}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def play_executions(screen: Screen, world: World, own: bytes | None) -> list[Execution]:
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    # The last two executions are scheduled after the retraining: only those show whether it repaired the model.
    hours = [now + timedelta(hours=n - 3) for n in range(6)]
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
        clean(MODEL_QUALITY, hour, f"{hour:%H:%M}  model quality: clean (ground truth merged, then analyzed)")

    for hour in hours[:2]:
        clean(DATA_QUALITY, hour, f"{hour:%H:%M}  data quality: clean")
        model_quality(hour)
    found = "your report" if own else "violations"
    violations(DATA_QUALITY, hours[2], drift, f"{hours[2]:%H:%M}  data quality: {found}; every event is delivered 3 times", 3)
    model_quality(hours[2])
    violations(DATA_QUALITY, hours[3], more_drift, f"{hours[3]:%H:%M}  data quality: {found} again; 2 of the last 3 executions breach")
    screen.step("       waiting for the alert, the decision, and the pipeline …")
    eventually(lambda: world.executions(), "a pipeline execution")
    eventually(lambda: len(world.messages()) >= 3, "messages about the alert, the decision, and the outcome", 60)
    eventually(lambda: b"churn-1" in world.pages().get("dashboard/models/churn.html", b""), "the model's page with its incident", 150)
    copy_pages(world, ROOT / "target/demo/open")
    model_quality(hours[3])
    clean(DATA_QUALITY, hours[4], f"{hours[4]:%H:%M}  data quality on the retrained model: clean")
    clean(DATA_QUALITY, hours[5], f"{hours[5]:%H:%M}  data quality on the retrained model: clean; the alert ends")
    eventually(lambda: (world.model("churn") or {}).get("closed"), "the incident closed")
    eventually(lambda: len(world.messages()) >= 5, "messages about the end of the alert and of the incident")
    eventually(lambda: b"drift fixed" in world.pages().get("dashboard/index.html", b""), "the dashboard's overview", 150)
    return executions


def copy_pages(world: World, to: Path) -> dict[str, bytes]:
    """Copies the pages of the model dashboard to this machine, so that a browser can open them."""
    kept = world.pages()
    for key, body in kept.items():
        path = to / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return kept


def pages(screen: Screen, world: World) -> None:
    kept = copy_pages(world, ROOT / "target/demo")
    overview = kept.get("dashboard/index.html", b"").decode()
    screen.check("the model dashboard has the model's page", "models/churn.html" in overview, sorted(kept))
    screen.check("the model dashboard shows that the retraining fixed the drift", "drift fixed" in overview, overview[-2000:])


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def dimensions(schedule: str) -> dict[str, str]:
    return {"Endpoint": ENDPOINT, "MonitoringSchedule": schedule}


def show(screen: Screen, world: World, executions: list[Execution]) -> None:
    screen.title("Datapoints, with their CloudWatch metrics")
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
        message = {
            "Model Monitor Alert State Change": lambda d: f"{d['monitoringSchedule']} {d['alertStatus']}: {d['reason']}",
            "Remediation Decided": lambda d: d["sentence"],
            "Retraining Pipeline Execution Status Change": lambda d: f"{d['incidentId']}: {d['status']}",
            "Remediation Incident Closed": lambda d: d["sentence"],
        }[event["detail-type"]](detail)
        screen.line(f"  {event['detail-type']}\n    {message}")

    model = world.model("churn")
    incident = (model["closed"] or [{}])[-1].get("incident") or model.get("incident")
    if incident:
        screen.title("The decision, from the model's state document")
        decision = incident["decision"]
        screen.line(f"  incident {incident['id']}, {decision['verdict']}, policy version {decision['policyVersion']}")
        for reason in decision["reasons"]:
            details = ", ".join(f"{name} {value}" for name, value in reason.items() if name != "code")
            screen.line(f"    {reason['code']}{': ' + details if details else ''}")

    screen.title("SageMaker pipeline executions")
    for run in world.executions():
        screen.line(f"  {run['displayName']}: {run['status']}, started once, with the token {run['token'][:12]}…")
        for name, value in run["parameters"].items():
            screen.line(f"    {name} = {value}")

    screen.title("Notifications")
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
        for statistic, what in (("Maximum", "right value"), ("SampleCount", "one sample")):
            values = [world.metric("Breaching", e.hour, statistic, **dimensions(schedule)) for e in expected]
            wanted = [1.0 if statistic == "SampleCount" or e.report else 0.0 for e in expected]
            screen.check(f"{schedule}: CloudWatch metric Breaching has {what} per execution", values == wanted, values)
    alerts = [e["detail"]["alertStatus"] for e in world.events("Model Monitor Alert State Change")]
    screen.check("the alert was raised once and cleared once", sorted(alerts) == ["InAlert", "OK"], alerts)
    decisions = [e["detail"]["verdict"] for e in world.events("Remediation Decided")]
    screen.check("one decision: Retrain", decisions == ["Retrain"], decisions)
    runs = world.executions()
    screen.check("the pipeline was started exactly once", len(runs) == 1, len(runs))
    screen.check("the pipeline execution succeeded", [run["status"] for run in runs] == ["Succeeded"], runs)
    calls = [call for call in world.stack.stand_in("calls") if call["operation"] == "StartPipelineExecution"]
    screen.check("one ClientRequestToken was used", len({call["body"]["ClientRequestToken"] for call in calls}) == 1, calls)
    model = world.model("churn")
    outcomes = [e["detail"]["outcome"] for e in world.events("Remediation Incident Closed")]
    screen.check("the incident is closed: Repaired", outcomes == ["Repaired"], outcomes)
    screen.check("no incident is open", model.get("incident") is None and len(model["closed"]) == 1, model)
    pending = [model["outbox"], world.ledger(DATA_QUALITY)["outbox"], world.ledger(MODEL_QUALITY)["outbox"]]
    screen.check("no pending effects", pending == [[], [], []], pending)
    subjects = sorted(message["Subject"] for message in world.messages())
    screen.check("five messages: alert, decision, outcome, alert cleared, incident closed", len(subjects) == 5, subjects)
    dead = world.dead_letters.drain()
    screen.check("the dead-letter queue is empty", not dead, dead)
