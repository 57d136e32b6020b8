"""Notifications in each format, at HTTP receivers and queues, checked against the receivers' published schemas."""

import hashlib
import hmac
import http.server
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from harness.stack import ACCOUNT, REGION, ROOT
from harness.world import AUTO, TICK, Queue, eventually, folder

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
ROUTING_KEY, SIGNING_KEY = "k" * 32, "signing-key"


class Receiver:
    """A server that records requests and returns a configured response."""

    def __init__(self):
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = {"/pagerduty": 202, "/webhook": 200}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status[self.path])
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self, path: str) -> list[Any]:
        return [json.loads(body) for at, _, body in self.requests if at == path]


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def schema(path: str) -> Any:
    return json.loads((ROOT / path).read_text())


def topic(world_stack, name: str) -> tuple[str, Queue]:
    """A topic with a subscribed queue."""
    sns, sqs = world_stack.client("sns"), world_stack.client("sqs")
    arn = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    return arn, Queue(world_stack, url)


def alert(detail_id: str, model: str) -> dict[str, Any]:
    """An alert event of ingest with a unique ID."""
    event = json.loads((ROOT / "events/notify/alert-in-alert.json").read_text())
    event["detail"] |= {"id": detail_id, "model": model}
    return event


def test_every_format_matches_receiver_schema(world, stack, receiver, reports):
    name = world.name
    json_topic, as_json = topic(stack, f"{name}-json")
    chat_topic, as_chat = topic(stack, f"{name}-chat")
    assert json_topic == f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}-json"
    stack.client("secretsmanager").create_secret(Name=f"{name}/pagerduty", SecretString=ROUTING_KEY)
    stack.client("ssm").put_parameter(Name=f"/{name}/webhook", Value=SIGNING_KEY, Type="SecureString", Overwrite=True)
    policy = f"""{AUTO}
[[notification]]
to = "sns-text"
[[notification]]
to = "sns-json"
topic = "{json_topic}"
[[notification]]
to = "chat"
topic = "{chat_topic}"
[[notification]]
to = "pagerduty"
url = "{receiver.url}/pagerduty"
secret = "secretsmanager:{name}/pagerduty"
[[notification]]
to = "webhook"
url = "{receiver.url}/webhook"
secret = "ssm:/{name}/webhook"
"""
    world.put_policy(policy)
    world.put_report(folder("churn", "churn-dq", NOW - timedelta(hours=2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution")[0]
    eventually(lambda: len(receiver.bodies("/webhook")) == 2, "the alert and the decision at the webhook")
    world.finish(run["arn"], "Failed")
    notifications = eventually(
        lambda: (seen := as_json.bodies()) and len(seen) == 4 and seen, "four notifications as JSON"
    )
    assert sorted(n["kind"] for n in notifications) == ["alert", "decision", "decision", "retraining"]
    for notification in notifications:
        jsonschema.validate(notification, schema("events/schemas/notification.v1.json"))
    assert len({n["thread"] for n in notifications}) == 1, "one incident is one thread"

    chat = eventually(lambda: (seen := as_chat.bodies()) and len(seen) == 4 and seen, "four chat messages")
    for message in chat:
        jsonschema.validate(message, schema("functions/tests/notify/schemas/amazon-q-custom-notification.json"))
    assert {m["metadata"]["threadId"] for m in chat} == {notifications[0]["thread"]}

    pages = eventually(lambda: (seen := receiver.bodies("/pagerduty")) and len(seen) == 4 and seen, "four PagerDuty events")
    for page in pages:
        jsonschema.validate(page, schema("functions/tests/notify/schemas/pagerduty-events-v2.json"))
        assert page["routing_key"] == ROUTING_KEY
    assert sorted(p["event_action"] for p in pages) == ["acknowledge", "trigger", "trigger", "trigger"]

    eventually(lambda: len(receiver.bodies("/webhook")) == 4, "four webhook requests")
    for path, headers, body in receiver.requests:
        if path == "/webhook":
            t, v1 = (part.split("=", 1)[1] for part in headers["driftwarden-signature"].split(","))
            expected = hmac.new(SIGNING_KEY.encode(), t.encode() + b"." + body, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(v1, expected) and abs(time.time() - int(t)) < 300
            assert headers["driftwarden-id"] == json.loads(body)["id"]
    texts = eventually(lambda: (seen := world.messages()) and len(seen) == 4 and seen, "four text messages")
    decision = next(m["Message"] for m in texts if "retraining decided" in m["Subject"])
    for answer in ("Why: ", "Severity: ", "First violation: ", "You will get the result", "\nMore\n"):
        assert answer in decision
    keys = [line for line in world.logs("notify") if ROUTING_KEY in line or SIGNING_KEY in line]
    assert keys == [], "no key is logged"


def test_repeated_alert_is_one_message_with_count(world, receiver, stack):
    name = world.name
    stack.client("ssm").put_parameter(Name=f"/{name}/webhook", Value=SIGNING_KEY, Type="SecureString", Overwrite=True)
    webhook = f'[[notification]]\nto = "webhook"\nurl = "{receiver.url}/webhook"\nsecret = "ssm:/{name}/webhook"\n'
    quiet = '[[notification]]\nto = "sns-text"\nquiet = ["00:00-24:00"]\n'
    world.put_policy(f"{AUTO}\n{webhook}\n{quiet}")
    receiver.status["/webhook"] = 503
    done, answer = world.invoke("notify", alert("alert-1", "churn"))
    assert done and answer["pending"] == 1, "the receiver is down"
    receiver.status["/webhook"] = 200
    for at in range(2, 21):
        done, answer = world.invoke("notify", alert(f"alert-{at}", "churn"))
        assert done and answer["outcome"] == "counted", answer
        assert world.invoke("notify", alert(f"alert-{at}", "churn"))[1]["outcome"] == "known"
    closed = json.loads((ROOT / "events/notify/incident-closed.json").read_text())
    closed["detail"] |= {"model": "churn"}
    done, answer = world.invoke("notify", closed)
    assert done and answer["outcome"] == "told", answer
    sent = [n for n in receiver.bodies("/webhook") if n["kind"] == "incident"]
    assert len(sent) == 1 and sent[0]["repeats"][0]["count"] == 19
    held = world.stack.client("s3").list_objects_v2(Bucket=world.state, Prefix="notifications/held/")["Contents"]
    document = world.document(held[0]["Key"])
    assert [one["notification"]["kind"] for one in document["entries"]] == ["alert", "incident"]
    assert world.messages() == [], "quiet hours hold"
    done, answer = world.invoke("notify", TICK)
    assert done and answer["outcome"] == "ticked", answer
