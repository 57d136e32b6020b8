"""240 executions of 20 monitors, every event three times, in random order."""

import json
import random
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from harness.world import AUTO, eventually, folder

# The number only has to keep many concurrent invocations of one function in progress. Histories of thousands of
# executions run in tests/simulator.
MONITORS, EXECUTIONS, COPIES = 20, 12, 3
M, N = 2, 3


@pytest.mark.slow
def test_tripled_and_shuffled_events_are_recorded_once(make_world):
    world = make_world(AUTO + f"[alert]\ndatapoints_to_alert = {M}\nevaluation_period = {N}\n")
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    # CloudWatch keeps metrics, so the model names are unique to this test.
    load = uuid.uuid4().hex[:8]
    chance = random.Random(2026)
    plan = {m: [chance.random() < 0.3 for _ in range(EXECUTIONS)] for m in range(MONITORS)}
    entry = {
        "feature_name": "age",
        "constraint_check_type": "baseline_drift_check",
        "description": "Numerical distance: 0.25 exceeds numerical threshold: 0.1",
    }
    report = json.dumps({"violations": [entry]}).encode()
    events = []
    for monitor, violating in plan.items():
        for n, violates in enumerate(violating):
            where = folder(f"{load}-{monitor}", f"{load}-monitor-{monitor}", now - timedelta(hours=EXECUTIONS - n))
            message = "Completed: Job completed successfully with no violations."
            if violates:
                # The report's own S3 event adds one.
                world.put_report(where, report)
                message = "CompletedWithViolations: Job completed successfully with 1 violations."
            events += [world.job_event(where, f"{load}-monitor-{monitor}", exit_message=message)] * COPIES
    chance.shuffle(events)
    world.put_events(*events)

    def recorded():
        ledgers = [world.ledger(f"{load}-monitor-{monitor}") for monitor in plan]
        missing = [
            monitor
            for monitor, ledger in zip(plan, ledgers)
            if not ledger
            or len(ledger["datapoints"]) < EXECUTIONS
            or ledger["outbox"]
            or any("job" not in point["evidence"] for point in ledger["datapoints"])
        ]
        return not missing and ledgers

    ledgers = eventually(recorded, "every execution of every monitor recorded", 240, every=1)
    for (monitor, violating), ledger in zip(plan.items(), ledgers):
        states = ["report" in point["evidence"] for point in ledger["datapoints"]]
        assert states == violating, f"{load}-monitor-{monitor}"
        expected = "InAlert" if sum(violating[-N:]) >= M else "OK"
        assert ledger["alert"]["status"] == expected, f"{load}-monitor-{monitor}"

    def received():
        models = [world.model(f"{load}-{monitor}") for monitor in plan]
        return (
            all(
                ledger["alert"]["transition"] == (model or {"alerts": {}})["alerts"].get(f"{load}-monitor-{monitor}", {"transition": 0})["transition"]
                and not (model and model["outbox"])
                for monitor, ledger, model in zip(plan, ledgers, models)
            )
            and models
        )

    models = eventually(received, "every transition received by its model", 120, every=1)
    started = Counter(run["displayName"] for run in world.executions())
    assert set(started.values()) == {1}, "at most one pipeline execution for each incident"
    incidents = {f"driftwarden-{load}-{m}-{n}" for m, model in zip(plan, models) if model for n in range(1, model["incidents"] + 1)}
    assert set(started) <= incidents
    # Shuffled, the executions of an alert may all be recorded before its event arrives, or the newest ones may be the last to come: then
    # an incident ends without a retraining. That of a monitor that is in alert in the end has one.
    in_alert = [m for m, ledger in zip(plan, ledgers) if ledger["alert"]["status"] == "InAlert"]
    assert in_alert, "the plan has drift in the end"
    for m in in_alert:
        assert models[m]["incident"]["execution"], f"{load}-{m}"
    monitor, violating = 0, plan[0]
    for n, violates in enumerate(violating):
        dimensions = {"Endpoint": f"{load}-{monitor}", "MonitoringSchedule": f"{load}-monitor-{monitor}"}
        at = now - timedelta(hours=EXECUTIONS - n)
        assert world.metric("Breaching", at, "Maximum", **dimensions) == float(violates)
        assert world.metric("Breaching", at, "SampleCount", **dimensions) == 1
    assert world.dead_letters.drain() == []
