"""Plays one incident across an upgrade and a roll back, with the functions of another release, and checks that nothing is lost.

The other release begins: it records executions and starts the retraining. This release takes over while events are in flight. The
other release reads the documents that this one wrote, and this release ends the incident.
"""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from .demo import DATA_QUALITY, ENDPOINT, REPORTS, Screen, parse
from .stack import ROOT, Failed, running
from .world import World, eventually, folder

FUNCTIONS = ("ingest", "remediate", "sweep", "notify", "promote")
# Only keys that both releases know.
POLICY = f"""\
[remediation]
automation = "auto"

[alert]
datapoints_to_alert = 2
evaluation_period = 3

[[monitor]]
schedule = "{DATA_QUALITY}"
model = "churn"
"""


def deploy(world: World, binaries: Path) -> None:
    """Replaces the code of the functions, and stops their processes, also those with an invocation in progress."""
    for function in FUNCTIONS:
        if not (binaries / function / "bootstrap").exists():
            raise Failed(f"error: {binaries}/{function}/bootstrap does not exist\nhint: run `make build ARCH=x86_64` in a checkout of the other release")
        code = world.stack.folder / "code" / f"{world.name}-{function}"
        code.unlink()
        code.symlink_to(binaries / function)
    world._restart({})


def play(before: Path) -> int:
    screen = Screen()
    after = ROOT / "target/lambda-test"
    drift = (REPORTS / "data-quality-drift.json").read_bytes()
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    hours = [now + timedelta(hours=n - 5) for n in range(8)]
    with running() as stack:
        world = World(stack, name="driftwarden", policy=POLICY)
        world.schedule(DATA_QUALITY, ENDPOINT)

        def ledger_hours() -> list[datetime]:
            return [parse(point["scheduled_time"]) for point in (world.ledger(DATA_QUALITY) or {"datapoints": []})["datapoints"]]

        def execution(hour: datetime, violates: bool = False, waits: bool = True) -> None:
            where = folder(ENDPOINT, DATA_QUALITY, hour)
            if violates:
                world.put_report(where, drift)
            world.put_events(world.execution(DATA_QUALITY, ENDPOINT, hour, "CompletedWithViolations" if violates else "Completed"))
            if waits:
                eventually(lambda: hour in ledger_hours(), f"the datapoint of {hour}", 150)

        def model() -> Any:
            return world.model("churn") or {}

        def stage() -> Any:
            incident = model().get("incident")
            return incident and incident.get("stage", incident.get("state"))

        deploy(world, before)
        screen.step("the other release: a clean execution and two with violations")
        execution(hours[0])
        execution(hours[1], violates=True)
        execution(hours[2], violates=True)
        eventually(world.executions, "the pipeline execution", 60)
        screen.step("this release takes over, while the events of an execution are in flight")
        execution(hours[3], waits=False)
        deploy(world, after)
        eventually(lambda: hours[3] in ledger_hours(), "the datapoint that was in flight", 240)
        execution(hours[4], violates=True)
        world.sweep()
        screen.step(f"the incident is {stage()}; the pipeline execution ends")
        world.finish(world.executions()[0]["arn"])
        eventually(lambda: "Verifying" in str(model().get("incident")), "the stage Verifying", 120)
        screen.step("roll back: the other release reads the documents and records an execution")
        deploy(world, before)
        execution(hours[5])
        rolled_back = model()
        screen.step("this release again: two more clean executions end the incident")
        deploy(world, after)
        # Executions of the next two hours verify the retraining. The other release does not know the key `close_after`.
        world.put_policy(POLICY.replace('"auto"', '"auto"\nverify_executions = 2\nclose_after = 1', 1))
        execution(hours[6])
        execution(hours[7])
        # A sweep takes over what a killed process had claimed, after the time limit of its invocation.
        eventually(lambda: world.sweep() and model().get("closed"), "the end of the incident", 240, every=10)
        world.settle()

        screen.title("Checks")
        points = ledger_hours()
        # The sweep also records hours without an execution.
        counts = [points.count(hour) for hour in hours]
        screen.check("one execution, one datapoint", counts == [1] * len(hours), counts)
        screen.check("the other release kept the incident", bool(rolled_back.get("incident") or rolled_back.get("closed")), rolled_back)
        screen.check("the pipeline was started once", len(world.executions()) == 1, world.executions())
        closed = model()["closed"]
        screen.check("one incident, closed", len(closed) == 1 and model().get("incident") is None, closed)
        # Events are sent at least once: an event that is sent again has the same ID.
        outcomes = {event["detail"]["id"]: event["detail"]["outcome"] for event in world.events("Remediation Incident Closed")}
        screen.check("its outcome is Repaired", list(outcomes.values()) == ["Repaired"], outcomes)
        pending = [model()["outbox"], world.ledger(DATA_QUALITY)["outbox"]]
        screen.check("no pending effects", pending == [[], []], pending)
        dead = world.dead_letters.drain()
        screen.check("the dead-letter queue is empty", not dead, dead)
        unreadable = [line for name in FUNCTIONS for line in world.logs(name) if "StateUnreadable" in line or "StateNewer" in line]
        screen.check("every document could be read", not unreadable, unreadable[:3])
    return screen.conclude()
