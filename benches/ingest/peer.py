"""Peer of ingest: an idiomatic Python handler for the same work, on boto3, with a Runtime API loop.

It does what `ingest` does for the S3 event of a data quality report: it reads report, ledger, and policy, adds one
datapoint, evaluates the window, writes the ledger conditionally with its pending effects, publishes metrics, publishes the
event of a transition, and settles. It reads sequentially, as most handlers do, and keeps its clients between invocations.
The loop is leaner than AWS's own runtime client for Python, which favors Python.
"""

import http.client
import json
import os
import re
from datetime import datetime, timezone
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CONFIG = Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=2, read_timeout=5)
S3 = boto3.client("s3", config=CONFIG.merge(Config(s3={"addressing_style": "path"})))
CLOUDWATCH = boto3.client("cloudwatch", config=CONFIG)
EVENTS = boto3.client("events", config=CONFIG)
STATE, BUS = os.environ["STATE_BUCKET"], os.environ["EVENT_BUS_NAME"]
KEY = re.compile(r"^(?:.*/)?([\w-]+)/([\w-]+)/(\d{4})/(\d\d)/(\d\d)/(\d\d)/constraints?_violations\.json$")
DISTANCE = re.compile(r"distance: (\S+) exceeds (?:\w+ )?threshold:? (\S+)")


def get(bucket: str, key: str) -> tuple[bytes, str] | None:
    try:
        answer = S3.get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["ETag"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


def put(key: str, ledger: dict[str, Any], etag: str | None) -> str:
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    return S3.put_object(Bucket=STATE, Key=key, Body=json.dumps(ledger).encode(), **condition)["ETag"]


def handle(event: dict[str, Any], request_id: str) -> dict[str, Any]:
    bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    match = KEY.match(key)
    if not match:
        return {"outcome": "ignored"}
    endpoint, schedule, year, month, day, hour = match.groups()
    scheduled = datetime(int(year), int(month), int(day), int(hour), tzinfo=timezone.utc)
    body, report_etag = get(bucket, key) or (b"", "")
    violations = json.loads(body)["violations"]
    found = []
    for violation in violations:
        values = DISTANCE.search(violation.get("description", ""))
        observed, threshold = (float(values[1]), float(values[2])) if values else (None, None)
        found.append({**violation, "observed": observed, "threshold": threshold})
    found.sort(key=lambda v: -((v["observed"] or 0) - (v["threshold"] or 0)))
    get(STATE, "policy.toml")
    name = f"monitors/{schedule.lower()}.json"
    held = get(STATE, name)
    ledger = json.loads(held[0]) if held else {"schedule": schedule, "datapoints": {}, "status": "OK", "transition": 0}
    stamp = scheduled.isoformat()
    if ledger["datapoints"].get(stamp, {}).get("etag") == report_etag:
        return {"outcome": "duplicate"}
    ledger["datapoints"][stamp] = {"etag": report_etag, "violations": len(found), "top": found[:20]}
    latest = [ledger["datapoints"][at] for at in sorted(ledger["datapoints"])[-1:]]
    status = "InAlert" if sum(point["violations"] > 0 for point in latest) >= 1 else "OK"
    dimensions = [{"Name": "Endpoint", "Value": endpoint}, {"Name": "MonitoringSchedule", "Value": schedule}]

    def metric(metric_name: str, value: float, **more: str) -> dict[str, Any]:
        extra = [{"Name": k, "Value": v} for k, v in more.items()]
        return {"MetricName": metric_name, "Dimensions": dimensions + extra, "Timestamp": scheduled, "Value": value}

    metrics = [metric("ExecutionFailed", 0), metric("ConstraintViolations", len(found)), metric("Breaching", float(bool(found)))]
    kinds: dict[str, int] = {}
    for violation in found:
        kinds[violation["constraint_check_type"]] = kinds.get(violation["constraint_check_type"], 0) + 1
    metrics += [metric("ConstraintViolations", count, ConstraintCheckType=kind) for kind, count in kinds.items()]
    metrics += [
        metric("ObservedValue", v["observed"], ConstraintCheckType=v["constraint_check_type"], Feature=v["feature_name"])
        for v in found[:20]
        if v["observed"] is not None
    ]
    pending: list[Any] = [["metrics", len(metrics), request_id]]
    change = None
    if status != ledger["status"]:
        ledger["status"], ledger["transition"] = status, ledger["transition"] + 1
        change = {"id": f"alert-{schedule}-{ledger['transition']}", "alertStatus": status, "violations": found[:20]}
        pending.append(["event", change, request_id])
    etag = put(name, ledger | {"outbox": pending}, held[1] if held else None)
    CLOUDWATCH.put_metric_data(Namespace="Driftwarden", MetricData=metrics)
    if change:
        entry = {"EventBusName": BUS, "Source": "driftwarden", "DetailType": "Model Monitor Alert State Change", "Detail": json.dumps(change)}
        assert EVENTS.put_events(Entries=[entry])["FailedEntryCount"] == 0
    put(name, ledger | {"outbox": []}, etag)
    return {"outcome": "recorded"}


def main() -> None:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = connection.getresponse()
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.loads(answer.read())
        body = json.dumps(handle(event, request_id)).encode()
        connection.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body)
        connection.getresponse().read()


if __name__ == "__main__":
    main()
