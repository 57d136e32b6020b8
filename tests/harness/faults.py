"""A proxy between the functions and LocalStack that fails on demand, because LocalStack never throttles or times out."""

import http.client
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Fault:
    """A fault of the next `count` calls of an operation."""

    operation: str
    count: int = 1
    # Response instead of the call, or, with `after`, after it was executed: the caller cannot distinguish the two.
    status: int = 503
    code: str = "ServiceUnavailable"
    after: bool = False
    # Resets the connection without a response.
    reset: bool = False
    # Seconds before the response.
    hang: float = 0.0


@dataclass
class Faults:
    """Pending faults, and the calls so far."""

    pending: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: Fault) -> None:
        with self.lock:
            self.pending.extend(faults)

    def next(self, operation: str) -> Fault | None:
        with self.lock:
            self.calls.append(operation)
            for fault in self.pending:
                if fault.operation == operation and fault.count > 0:
                    fault.count -= 1
                    self.struck.append(operation)
                    return fault
        return None


def operation_of(method: str, path: str, headers: http.client.HTTPMessage, body: bytes) -> str:
    """Name of a request's operation, in any protocol of AWS."""
    if target := headers.get("X-Amz-Target"):
        return target.rsplit(".", 1)[1]
    parts = urlsplit(path).path.split("/")
    if "operation" in parts:
        return parts[-1]
    if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode()).get("Action", ["?"])[0]
    return {"GET": "GetObject", "PUT": "PutObject"}.get(method, method)


def refusal(headers: http.client.HTTPMessage, code: str) -> tuple[str, bytes]:
    """Content type and body of an error, in the protocol of the request (Smithy: RPC v2 CBOR, AWS JSON 1.1, AWS Query, REST XML)."""
    error = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    if "cbor" in headers.get("smithy-protocol", ""):
        return "application/cbor", cbor({"__type": code, "message": "injected"})
    if headers.get("X-Amz-Target"):
        return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": "injected"}).encode()
    if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return "text/xml", f"<ErrorResponse>{error}<RequestId>injected</RequestId></ErrorResponse>".encode()
    return "application/xml", error.encode()


def cbor(fields: dict[str, str]) -> bytes:
    """A map of fewer than 24 strings, each of fewer than 256 bytes, in CBOR (RFC 8949, section 3)."""
    text = lambda value: bytes([0x78, len(value.encode())]) + value.encode()
    return bytes([0xA0 + len(fields)]) + b"".join(text(name) + text(value) for name, value in fields.items())


@contextmanager
def proxy(upstream: str) -> Iterator[tuple[str, Faults]]:
    """Runs a proxy. Yields its URL and its faults."""
    faults = Faults()
    host = urlsplit(upstream).netloc

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = operation_of(self.command, self.path, self.headers, body)
            fault = faults.next(operation)
            if fault and not fault.after:
                return self.strike(fault)
            connection = http.client.HTTPConnection(host, timeout=60)
            try:
                # The body is unchanged, because the signature covers it.
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            if fault:
                return self.strike(fault)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return None

        def strike(self, fault: Fault) -> None:
            time.sleep(fault.hang)
            if fault.reset:
                # An abortive close: the caller gets a reset, not an end of file.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            kind, content = refusal(self.headers, fault.code)
            self.send_response(fault.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = serve

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def killing(processes: Callable[[], list[int]], between: tuple[float, float], seed: int) -> Iterator[list[int]]:
    """Repeatedly kills one of the processes, with pauses of `between` seconds. Yields the killed process IDs."""
    stop, killed, chance = threading.Event(), [], random.Random(seed)

    def kill() -> None:
        while not stop.wait(chance.uniform(*between)):
            if found := processes():
                pid = chance.choice(found)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        stop.set()
        killer.join()
