"""A Lambda executor that runs `bootstrap` as a process, behind a real Runtime API.

Like AWS's sandbox, it serves the Lambda Runtime API (developer guide, page `runtimes-api`), so the deployed binaries run unchanged. One
environment is one process, which stays warm between invocations and is restarted after a crash or a timeout, as in AWS.
"""

import json
import logging
import os
import queue
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

LOG = logging.getLogger(__name__)

API = "/2018-06-01/runtime"
# AWS limits the initialization to ten seconds.
INIT_SECONDS = 10.0
# Maximum number of output lines that an environment keeps.
KEPT_LINES = 10_000


class ProcessRuntimeExecutorPlugin(RuntimeExecutorPlugin):
    """Registers the executor under the name `process`."""

    name = "process"

    def load(self, *args, **kwargs):
        return ProcessRuntimeExecutor


@dataclass
class Invocation:
    """One invocation of the function."""

    request_id: str
    function_arn: str
    payload: bytes
    trace_id: str
    deadline: float
    done: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""
    is_error: bool = False

    def finish(self, answer: bytes, is_error: bool) -> None:
        if not self.done.is_set():
            self.answer, self.is_error = answer, is_error
            self.done.set()


def error_body(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


class Sandbox:
    """One process with its Runtime API."""

    def __init__(self, bootstrap: Path, env: dict[str, str], output: deque[str]):
        self.pending: queue.Queue[Invocation] = queue.Queue()
        self.current: Invocation | None = None
        self.ready = threading.Event()
        self.init_error: bytes | None = None
        self.ended = threading.Event()
        self.output = output
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        env = env | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_address[1]}"}
        self.process = subprocess.Popen(
            [str(bootstrap)],
            cwd=bootstrap.parent,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.reader = threading.Thread(target=self._read_output, daemon=True)
        self.reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _handler(sandbox):  # noqa: N805 - `self` is the request's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A function sends a request in two writes, which must not wait for each other.
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                chunks = []
                while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def do_GET(self):
                if self.path != f"{API}/invocation/next":
                    return self.reply(404)
                sandbox.ready.set()
                while True:
                    try:
                        invocation = sandbox.pending.get(timeout=0.5)
                        break
                    except queue.Empty:
                        if sandbox.ended.is_set():
                            return None
                sandbox.current = invocation
                return self.reply(
                    200,
                    invocation.payload,
                    {
                        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                        "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                        "Lambda-Runtime-Trace-Id": invocation.trace_id,
                    },
                )

            def do_POST(self):
                body = self.body()
                if self.path == f"{API}/init/error":
                    sandbox.init_error = body
                    sandbox.ready.set()
                    return self.reply(202)
                current = sandbox.current
                if current is None or current.request_id not in self.path:
                    return self.reply(403, error_body("InvalidRequestID", "no such invocation is being handled"))
                sandbox.current = None
                self.reply(202)
                return current.finish(body, self.path.endswith("/error"))

        return Handler

    def _read_output(self) -> None:
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))

    def _watch(self) -> None:
        """Reports the end of the process as an error of its invocation or of the initialization."""
        status = self.process.wait()
        self.reader.join(timeout=1)
        self.ended.set()
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        if current := self.current:
            message = f"RequestId: {current.request_id} Error: Runtime exited with error: {how}"
            current.finish(error_body("Runtime.ExitError", message), True)
        if not self.ready.is_set():
            last = self.output[-1] if self.output else ""
            self.init_error = error_body("Runtime.ExitError", f"Runtime exited during initialization: {how}: {last}")
            self.ready.set()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None and self.init_error is None

    def stop(self) -> None:
        self.ended.set()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.server.shutdown()
        self.server.server_close()


class ProcessRuntimeExecutor(RuntimeExecutor):
    """Runs a function version's `bootstrap` as a process."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self.sandbox: Sandbox | None = None
        self.env: dict[str, str] = {}
        self.output: deque[str] = deque(maxlen=KEPT_LINES)
        self.lock = threading.Lock()

    def start(self, env_vars: dict[str, str]) -> None:
        # Of LocalStack's environment, functions get only the variables FUNCTION_….
        passed = {k.removeprefix("FUNCTION_"): v for k, v in os.environ.items() if k.startswith("FUNCTION_")}
        own = self.function_version.config.environment or {}
        env = {name: str(value) for name, value in env_vars.items() if value is not None}
        self.env = {"PATH": os.environ.get("PATH", "")} | env | passed | own
        self._start_sandbox()

    def _start_sandbox(self) -> Sandbox:
        code = self.function_version.config.code.get_unzipped_code_location()
        # Variables of this function only, which the harness changes between processes.
        given = Path(os.environ.get("ENVIRONMENT_OF_FUNCTIONS", "")) / f"{self.function_version.id.function_name}.json"
        single = json.loads(given.read_text()) if given.is_file() else {}
        with self.lock:
            if self.sandbox:
                self.sandbox.stop()
            self.sandbox = sandbox = Sandbox(Path(code) / "bootstrap", self.env | single, self.output)
        sandbox.ready.wait(INIT_SECONDS)
        if sandbox.init_error is not None or not sandbox.ready.is_set():
            payload = sandbox.init_error or error_body("Runtime.InitError", "the initialization timed out")
            LOG.warning("function %s failed to start: %s", self.function_version.id.function_name, payload.decode())
            raise StatusErrorException("Environment startup failed", payload=payload)
        return sandbox

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        request_id = payload["invoke-id"]
        timeout = self.function_version.config.timeout
        before = len(self.output)
        sandbox = self.sandbox
        try:
            if sandbox is None or not sandbox.alive:
                sandbox = self._start_sandbox()
        except StatusErrorException as failure:
            return InvocationResult(request_id, failure.payload, True, self._logs(request_id, before))
        invocation = Invocation(
            request_id,
            payload["invoked-function-arn"],
            payload["payload"].encode(),
            payload["trace-id"],
            time.time() + timeout,
        )
        sandbox.pending.put(invocation)
        while not invocation.done.wait(0.2):
            if time.time() > invocation.deadline:
                now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                message = f"{now} {request_id} Task timed out after {timeout:.2f} seconds"
                invocation.finish(json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode(), True)
                sandbox.stop()
            elif not sandbox.alive and sandbox.current is not invocation:
                message = f"RequestId: {request_id} Error: Runtime exited before it took the event"
                invocation.finish(error_body("Runtime.ExitError", message), True)
        return InvocationResult(request_id, invocation.answer, invocation.is_error, self._logs(request_id, before))

    def _logs(self, request_id: str, before: int) -> str:
        lines = list(self.output)[before:] if len(self.output) < KEPT_LINES else list(self.output)[-200:]
        return "\n".join([f"START RequestId: {request_id}", *lines, f"END RequestId: {request_id}"])

    def stop(self) -> None:
        with self.lock:
            if self.sandbox:
                self.sandbox.stop()
                self.sandbox = None

    def get_logs(self) -> str:
        return "\n".join(self.output)

    def get_address(self) -> str:
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        return "http://127.0.0.1"

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Keeps the unpacked code, which a later version of the function can share. It is deleted with the run's folder."""
