"""Compare ingest with a Python peer that does the same work: cold start, warm time, memory, size, and round trips."""

import argparse
import io
import itertools
import json
import multiprocessing
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

HERE = Path(__file__).parent
COLD, WARM, MONITORS = 20, 300, 10
NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
REPORT = json.dumps(
    {
        "violations": [
            {
                "feature_name": f"feature_{n}",
                "constraint_check_type": "baseline_drift_check",
                "description": f"Numerical distance: {0.15 + n / 100} exceeds numerical threshold: 0.1",
            }
            for n in range(12)
        ]
    }
).encode()


class Quick(BaseHTTPRequestHandler):
    """A handler that keeps connections, answers immediately, and does not log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        # A single write, so that the measured side does not wait for a second packet.
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def stand_in(port_of: Any) -> None:
    """Stand-in for the parts of AWS that ingest uses, in a separate process: S3 with conditional writes, CloudWatch, EventBridge."""
    objects: dict[str, tuple[bytes, str]] = {}
    counter = itertools.count(1)
    lock = threading.Lock()
    seen: list[tuple[float, float, str]] = []
    totals = {"metrics": 0, "events": 0}
    delay = [0.0]

    class AWS(Quick):
        def serve(self) -> None:
            begun = time.perf_counter()
            body = self.body()
            if not self.path.startswith("/_"):
                time.sleep(delay[0])
            name = self.act(body)
            if name:
                with lock:
                    seen.append((begun, time.perf_counter(), name))

        do_GET = do_PUT = do_POST = serve

        def act(self, body: bytes) -> str | None:
            path = self.path.split("?")[0]
            if path == "/_seen":
                with lock:
                    # The peer reads no policy, and so records none.
                    ledgers = sum(not path.endswith("/policy-in-force.json") for path in objects)
                    answer = json.dumps({"seen": seen, "totals": totals, "objects": ledgers}).encode()
                    seen.clear()
                self.reply(200, answer)
                return None
            if path == "/_slow":
                delay[0] = float(self.path.split("?")[1])
                self.reply(200)
                return None
            if path == "/_reset":
                with lock:
                    objects.clear(), seen.clear(), totals.update(metrics=0, events=0)
                self.reply(200)
                return None
            target = self.headers.get("X-Amz-Target", "")
            if "PutEvents" in target:
                totals["events"] += 1
                answer = json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": str(uuid.uuid4())}]}).encode()
                self.reply(200, answer, Content_Type="application/x-amz-json-1.1")
                return "PutEvents"
            if self.command == "POST":
                totals["metrics"] += 1
                if "cbor" in self.headers.get("smithy-protocol", ""):
                    self.reply(200, b"\xa0", smithy_protocol="rpc-v2-cbor", Content_Type="application/cbor")
                elif target:
                    self.reply(200, b"{}", Content_Type="application/x-amz-json-1.0")
                else:
                    self.reply(200, b"<PutMetricDataResponse/>", Content_Type="text/xml")
                return "PutMetricData"
            if self.command == "GET":
                if path.endswith("/policy.toml"):
                    known = self.headers.get("If-None-Match") == '"policy"'
                    self.reply(304 if known else 200, b"" if known else b"# The defaults.", ETag='"policy"')
                elif "violations.json" in path:
                    last = "Mon, 23 Nov 2026 03:16:20 GMT"
                    self.reply(200, REPORT, ETag='"report"', Last_Modified=last, Content_Type="application/json")
                elif held := objects.get(path):
                    self.reply(200, held[0], ETag=held[1], Last_Modified="Mon, 23 Nov 2026 03:16:20 GMT")
                else:
                    missing = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
                    self.reply(404, missing, Content_Type="application/xml")
                return "GetObject"
            if "chunked" in self.headers.get("Content-Encoding", "") or self.headers.get("x-amz-decoded-content-length"):
                body = unchunk(body)
            with lock:
                held = objects.get(path)
                wanted = self.headers.get("If-Match")
                if (wanted and (not held or held[1] != wanted)) or (self.headers.get("If-None-Match") and held):
                    conflict = b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>"
                    self.reply(412, conflict, Content_Type="application/xml")
                    return "PutObject 412"
                etag = f'"{next(counter)}"'
                objects[path] = (body, etag)
            self.reply(200, b"", ETag=etag)
            return "PutObject"

    def unchunk(body: bytes) -> bytes:
        """Payload of a body in aws-chunked encoding."""
        stream, parts = io.BytesIO(body), []
        while size := int(stream.readline().split(b";")[0] or b"0", 16):
            parts.append(stream.read(size))
            stream.readline()
        return b"".join(parts)

    server = ThreadingHTTPServer(("127.0.0.1", 0), AWS)
    port_of.put(server.server_address[1])
    server.serve_forever()


class Function:
    """A process under test behind its own Runtime API."""

    def __init__(self, command: list[str], aws_port: int):
        self.first_next = threading.Event()
        self.work: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[tuple[float, bytes, bool]] = queue.Queue()
        function = self

        class Runtime(Quick):
            def do_GET(self) -> None:
                if not function.first_next.is_set():
                    function.ready_at = time.perf_counter()
                    function.first_next.set()
                event = function.work.get()
                function.handed_at = time.perf_counter()
                self.reply(
                    200,
                    event,
                    Lambda_Runtime_Aws_Request_Id=str(uuid.uuid4()),
                    Lambda_Runtime_Deadline_Ms=str(int(time.time() * 1000) + 60_000),
                    Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:us-east-1:000000000000:function:ingest",
                    Lambda_Runtime_Trace_Id="Root=1-0-0",
                )

            def do_POST(self) -> None:
                at = time.perf_counter()
                body = self.body()
                self.reply(202)
                function.answers.put((at - function.handed_at, body, self.path.endswith("/error")))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        env = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "ingest",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_LOG_GROUP_NAME": "g",
            "AWS_LAMBDA_LOG_STREAM_NAME": "s",
            "AWS_LAMBDA_LOG_LEVEL": "warn",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws_port}",
            "STATE_BUCKET": "driftwarden-state",
            "EVENT_BUS_NAME": "driftwarden",
        }
        begun = time.perf_counter()
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if not self.first_next.wait(30):
            raise SystemExit(f"{command} did not request an event within 30 s")
        self.cold = self.ready_at - begun

    def invoke(self, event: bytes) -> float:
        self.work.put(event)
        seconds, body, failed = self.answers.get(timeout=30)
        if failed:
            raise SystemExit(f"the function failed: {body.decode()}")
        return seconds

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()


def event(monitor: int, hour: int) -> bytes:
    at = NOW - timedelta(hours=200 - hour)
    key = f"reports/endpoint-{monitor}/monitor-{monitor}/{at:%Y/%m/%d/%H}/constraint_violations.json"
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "source": "aws.s3",
            "detail-type": "Object Created",
            "region": "us-east-1",
            "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "detail": {"bucket": {"name": "reports"}, "object": {"key": key, "size": len(REPORT)}},
        }
    ).encode()


def ask(port: int, what: str) -> Any:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", what)
    body = connection.getresponse().read()
    connection.close()
    return json.loads(body or b"null")


def levels(requests: list[list[Any]]) -> int:
    """Number of sequential round trips: a request starts a new one if all earlier requests had ended."""
    count, ends = 0, -1.0
    for begun, ended, _ in sorted(requests):
        if begun >= ends:
            count += 1
        ends = max(ends, ended)
    return count


def zipped(files: list[tuple[str, bytes]]) -> float:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return len(buffer.getvalue()) / 1e6


def vendored() -> list[tuple[str, bytes]]:
    site = Path(boto3.__file__).parents[1]
    packages = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3")
    files = [path for package in packages for path in (site / package).rglob("*") if path.is_file()]
    return [(str(path.relative_to(site)), path.read_bytes()) for path in files if "__pycache__" not in path.parts]


def measure(command: list[str], port: int) -> dict[str, Any]:
    ask(port, "/_reset")
    function = Function(command, port)
    try:
        for n in range(5):
            function.invoke(event(99, n))
        # Responses are delayed, so that concurrent calls overlap.
        ask(port, "/_slow?0.05")
        trips = {}
        for name, sent in (("transition", event(98, 0)), ("new datapoint", event(98, 1)), ("duplicate", event(98, 1))):
            ask(port, "/_seen")
            function.invoke(sent)
            trips[name] = levels(ask(port, "/_seen")["seen"])
        ask(port, "/_slow?0")
        cpu, times = function.cpu(), []
        for n in range(WARM):
            times.append(function.invoke(event(n % MONITORS, n // MONITORS)))
        cpu = function.cpu() - cpu
        done = ask(port, "/_seen")
        return {
            "p50": statistics.median(times) * 1000,
            "p99": statistics.quantiles(times, n=100)[98] * 1000,
            "cpu": cpu / WARM * 1000,
            "memory": function.peak_mb(),
            "trips": trips,
            "work": done["totals"] | {"objects": done["objects"]},
        }
    finally:
        function.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="release build of ingest: the file `bootstrap`")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    port_of: Any = multiprocessing.Queue()
    aws = multiprocessing.Process(target=stand_in, args=(port_of,), daemon=True)
    aws.start()
    port = port_of.get(timeout=10)
    commands = {
        "rust": [str(arguments.binary.resolve())],
        "python": [sys.executable, str(HERE / "peer.py")],
    }
    cold: dict[str, list[float]] = {"rust": [], "python": []}
    for n in range(COLD):
        if sys.stderr.isatty():
            print(f"\rcold start {n + 1} of {COLD} …", end="", file=sys.stderr)
        for name, command in commands.items():
            function = Function(command, port)
            cold[name].append(function.cold * 1000)
            function.end()
    print("\rwarm invocations …            " if sys.stderr.isatty() else "warm invocations …", file=sys.stderr)
    figures = {name: measure(command, port) for name, command in commands.items()}
    for name in commands:
        figures[name]["cold"] = statistics.median(cold[name])
        figures[name]["cold_range"] = [min(cold[name]), max(cold[name])]
    figures["rust"]["zip"] = zipped([("bootstrap", arguments.binary.read_bytes())])
    handler = (HERE / "peer.py").read_bytes()
    figures["python"]["zip"] = zipped([("peer.py", handler), *vendored()])
    figures["python"]["zip_without_boto3"] = zipped([("peer.py", handler)])
    aws.kill()
    if figures["rust"]["work"] != figures["python"]["work"]:
        print(f"error: the two did different work: {figures['rust']['work']} and {figures['python']['work']}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(figures))
        return 0
    rust, python = figures["rust"], figures["python"]
    rows = [
        ("cold start: process start to first `next`, median", "ms", "cold"),
        ("warm invocation, p50", "ms", "p50"),
        ("warm invocation, p99", "ms", "p99"),
        ("CPU time per warm invocation", "ms", "cpu"),
        ("peak resident memory", "MB", "memory"),
        ("zip (Python: with boto3 pinned)", "MB", "zip"),
    ]
    print(f"{'':<52} {'ingest':>10} {'Python':>10} {'ratio':>8}")
    for label, unit, key in rows:
        ratio = python[key] / rust[key] if rust[key] else float("inf")
        print(f"{label + ', ' + unit:<52} {rust[key]:>10.2f} {python[key]:>10.2f} {ratio:>7.1f}x")
    print(f"cold start from {rust['cold_range'][0]:.1f} to {rust['cold_range'][1]:.1f} ms, Python from "
          f"{python['cold_range'][0]:.0f} to {python['cold_range'][1]:.0f} ms, {COLD} each, alternately")
    print(f"Python's zip with the boto3 of Lambda's runtime: {python['zip_without_boto3']:.3f} MB")
    for name, count in rust["trips"].items():
        print(f"sequential AWS round trips, {name}: {count} (Python: {python['trips'][name]})")
    print(f"AWS is a local stand-in that answers immediately; both did the same work: {rust['work']}")
    print()
    for goal, met in [
        ("cold start at least 10 times shorter", python["cold"] >= 10 * rust["cold"]),
        ("memory at most a quarter", rust["memory"] <= python["memory"] / 4),
        ("zip under 6 MB", rust["zip"] < 6),
        ("at most three sequential round trips per event", max(rust["trips"].values()) <= 3),
    ]:
        print(f"goal: {goal}: {'met' if met else 'NOT met'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
