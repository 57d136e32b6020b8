"""Runs LocalStack and a simulated SageMaker as processes, and deploys Driftwarden to them."""

import contextlib
import io
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, Iterator

import boto3
import yaml
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("ingest", "sweep", "remediate", "operator", "operator-approve", "notify", "analyze", "promote", "dashboard")
REGION = "us-east-1"
ACCOUNT = "000000000000"


# Maximum disk space that a LocalStack with its deployments uses, in bytes.
DISK = 1 << 30
# Names of the deployments of this process.
deployments: list[str] = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Failed(Exception):
    """A failure that a person can fix. The message has `error:` and `hint:` lines."""


def check_tools() -> None:
    """Raises `Failed` if a required tool or disk space is missing."""
    tools = {"LocalStack": ROOT / ".venv/localstack/bin/python", "moto": ROOT / ".venv/tools/bin/python"}
    for name, python in tools.items():
        if not python.exists():
            raise Failed(f"error: {name} is not installed: {python} does not exist\nhint: run `make setup`")
    done = subprocess.run([tools["LocalStack"], "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False)
    if done.stdout.split() != ["3", "13"]:
        found = ".".join(done.stdout.split()) or done.stderr.strip()
        raise Failed(f"error: LocalStack requires Python 3.13, but .venv/localstack has {found}\nhint: run `rm -r .venv/localstack && make setup`")
    if not shutil.which("pgrep"):
        raise Failed("error: `pgrep` is not installed\nhint: install the package procps")
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < DISK:
        raise Failed(f"error: {tempfile.gettempdir()} has {free >> 20} MiB free: {DISK >> 20} MiB are required\nhint: free disk space, or set TMPDIR")


def hint(logs: str) -> str:
    """Hint for a process that did not start."""
    if "Address already in use" in logs or "address already in use" in logs:
        return "hint: another process uses the port: run the command again"
    if "No space left on device" in logs:
        return f"hint: free disk space in {tempfile.gettempdir()}, or set TMPDIR"
    if os.environ.get("AWS_ENDPOINT_URL"):
        return "hint: start the LocalStack of AWS_ENDPOINT_URL, or unset AWS_ENDPOINT_URL"
    return "hint: run `make setup`; if that does not help, check the log above"


def remove(folder: Path) -> None:
    """Kills the processes of all stacks below a folder and deletes the folder."""
    for file in folder.rglob("*.pid"):
        # Each process has its own session, so the functions that LocalStack started are killed with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


class Stack:
    """A running LocalStack with a simulated SageMaker (the stand-in).

    If AWS_ENDPOINT_URL is set, that LocalStack is used (with Docker, for example) and not stopped. Its functions must be able to reach
    the stand-in on this machine, by the host name in STAND_IN_HOST.
    """

    def __init__(self, finish_after: float | None = None):
        self.finish_after = finish_after
        self.folder = Path(tempfile.mkdtemp(prefix="driftwarden-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.external = os.environ.get("AWS_ENDPOINT_URL")
        self.url = self.external or f"http://127.0.0.1:{free_port()}"
        self.sagemaker_port = free_port()
        host = os.environ.get("STAND_IN_HOST", "127.0.0.1") if self.external else "127.0.0.1"
        self.sagemaker_url = f"http://{host}:{self.sagemaker_port}"
        self._clients: dict[str, Any] = {}
        self._packages: set[str] = set()

    def __enter__(self) -> "Stack":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        # A second Ctrl-C must not leave processes behind.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        remove(self.folder)
        for process in self.processes:
            process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def _spawn(self, name: str, command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.processes.append(process)
        (self.folder / f"{name}.pid").write_text(str(process.pid))
        return process

    def _start(self) -> None:
        base = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LOCALSTACK_", "LAMBDA_"))}
        if not self.external:
            check_tools()
            python = ROOT / ".venv/localstack/bin/python"
            temporary = self.folder / "tmp"
            temporary.mkdir()
            port = self.url.rsplit(":", 1)[1]
            self._spawn(
                "localstack",
                [str(python), "-m", "localstack.runtime.main"],
                base
                | {
                    "PYTHONPATH": str(ROOT / "tests/localstack_plugin"),
                    "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                    "LOCALSTACK_HOST": f"127.0.0.1:{port}",
                    "LOCALSTACK_VOLUME_DIR": str(self.folder / "volume"),
                    "FILESYSTEM_ROOT": str(self.folder / "root"),
                    "TMPDIR": str(temporary),
                    "XDG_CACHE_HOME": str(self.folder / "cache"),
                    "LAMBDA_RUNTIME_EXECUTOR": "process",
                    "LAMBDA_SYNCHRONOUS_CREATE": "1",
                    "LAMBDA_RETRY_BASE_DELAY": os.environ.get("RETRY_BASE_DELAY", "1"),
                    "SQS_ENDPOINT_STRATEGY": "path",
                    "DISABLE_EVENTS": "1",
                    "DNS_ADDRESS": "0",
                    "SKIP_SSL_CERT_DOWNLOAD": "1",
                    "FUNCTION_AWS_ENDPOINT_URL_SAGEMAKER": self.sagemaker_url,
                    "ENVIRONMENT_OF_FUNCTIONS": str(self.folder / "functions"),
                },
            )
        command = [str(ROOT / ".venv/tools/bin/python"), "-m", "harness.sagemaker", "--port", str(self.sagemaker_port), "--localstack", self.url]
        if self.finish_after is not None:
            command += ["--finish-after", str(self.finish_after)]
        environment = {"PYTHONPATH": str(ROOT / "tests"), "MOTO_ACCOUNT_ID": ACCOUNT}
        self._spawn("sagemaker", command, base | environment)
        self._wait(f"{self.url}/_localstack/health", "LocalStack", 10 if self.external else 90)
        self._wait(f"http://127.0.0.1:{self.sagemaker_port}/_stand-in/calls", "the simulated SageMaker", 60)

    def _wait(self, url: str, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            for process in self.processes:
                if process.poll() is not None:
                    logs = self.logs()
                    raise Failed(f"error: {what} stopped during its start:\n{logs}\n{hint(logs)}")
            if time.monotonic() > deadline:
                logs = self.logs()
                raise Failed(f"error: {what} did not respond at {url} within {seconds:.0f} s:\n{logs}\n{hint(logs)}")
            time.sleep(0.1)

    def logs(self) -> str:
        """The last log lines of the processes."""
        texts = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-40:]
            texts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(texts)

    def client(self, service: str) -> Any:
        """Returns a boto3 client."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.sagemaker_url if service == "sagemaker" else self.url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}, max_pool_connections=64),
            )
        return self._clients[service]

    def stand_in(self, what: str, body: dict[str, Any] | None = None) -> Any:
        """Calls the control API of the stand-in: see harness.sagemaker.Control."""
        url = f"http://127.0.0.1:{self.sagemaker_port}/_stand-in/{what}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def functions(self, name: str = "") -> list[int]:
        """Process IDs of the functions whose names begin with `name`."""
        found = subprocess.run(["pgrep", "-f", f"^{self.folder}/code/{name}[^/]*/bootstrap"], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def code(self, function: str, bootstrap: Path) -> dict[str, str]:
        """Location of the code of a function: a folder for a LocalStack of this run, otherwise a zip in S3."""
        if not bootstrap.exists():
            raise Failed(f"error: {bootstrap} does not exist\nhint: run `make binaries`")
        if not self.external:
            # The folder name identifies the function of a process: see `functions`.
            folder = self.folder / "code" / function
            folder.parent.mkdir(exist_ok=True)
            # Two functions can have the same code.
            if not folder.exists():
                folder.symlink_to(bootstrap.parent)
            return {"Bucket": "hot-reload", "Key": str(folder)}
        key = f"{bootstrap.parent.name}.zip"
        if key not in self._packages:
            self.client("s3").create_bucket(Bucket="packages")
            self.client("s3").put_object(Bucket="packages", Key=key, Body=package(bootstrap))
            self._packages.add(key)
        return {"Bucket": "packages", "Key": key}

    def deploy(self, name: str, parameters: dict[str, str], binaries: Path | None = None) -> dict[str, str]:
        """Deploys infra/template.yaml with the binaries through CloudFormation. Returns the outputs of the stack."""
        deployments.append(name)
        binaries = binaries or ROOT / "target/lambda-test"
        bucket = f"{name}-packages"
        s3 = self.client("s3")
        s3.create_bucket(Bucket=bucket)
        template = yaml.load((ROOT / "infra/template.yaml").read_text(), Loader=_Template)
        for resource in template["Resources"].values():
            code = resource.get("Properties", {}).get("CodeUri")
            if isinstance(code, str):
                function = code.rsplit("/", 1)[1]
                resource["Properties"]["CodeUri"] = self.code(f"{name}-{function}", binaries / function / "bootstrap")
        architecture = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
        parameters = {"Architecture": architecture} | parameters
        # The template is too large for the request, so it is uploaded to S3, as SAM does.
        s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template).encode())
        cloudformation = self.client("cloudformation")
        cloudformation.create_change_set(
            StackName=name,
            ChangeSetName="deploy",
            ChangeSetType="CREATE",
            TemplateURL=f"{self.url}/{bucket}/template.json",
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        cloudformation.get_waiter("change_set_create_complete").wait(
            StackName=name, ChangeSetName="deploy", WaiterConfig={"Delay": 1}
        )
        cloudformation.execute_change_set(StackName=name, ChangeSetName="deploy")
        try:
            cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        except Exception as failure:
            raise Failed(f"error: failed to deploy the stack: {failure}\n{self._failures(name)}") from failure
        outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def _failures(self, name: str) -> str:
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return "\n".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in events
            if event["ResourceStatus"].endswith("FAILED")
        )


def package(bootstrap: Path) -> bytes:
    """Zip file of a function, like those of cargo-lambda."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, bootstrap.read_bytes())
    return buffer.getvalue()


class _Template(yaml.SafeLoader):
    """Expands CloudFormation's short forms (`!Ref`, `!Sub`, …) for JSON."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {name: value}


_Template.add_multi_constructor("!", _short_form)
# The version of a template is a string, not a date.
_Template.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@contextlib.contextmanager
def running(finish_after: float | None = None) -> Iterator[Stack]:
    """Runs a stack until the end of the `with` block, or SIGTERM."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupted)
    try:
        with Stack(finish_after) as stack:
            yield stack
    finally:
        signal.signal(signal.SIGTERM, previous)
