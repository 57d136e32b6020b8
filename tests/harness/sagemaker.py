"""The SageMaker stand-in: moto's server, with what moto leaves out of the operations that Driftwarden uses.

moto knows pipelines and their executions, but ends every execution at once, ignores ClientRequestToken and tells
nobody. In front of it stands a small WSGI layer that adds SageMaker's documented behaviour:

- the same ClientRequestToken gives the same execution (API, StartPipelineExecution);
- parameters that the pipeline does not declare are refused;
- executions run until they are told to end, or end by themselves after a while;
- each change of status puts `SageMaker Model Building Pipeline Execution Status Change` on the default bus;
- processing jobs are described as the test says.

Tests steer it under `/_stand-in/`: see `Control`.
"""

import argparse
import io
import json
import threading
import time
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any, Callable

import boto3
from moto.core.utils import utcnow
from moto.sagemaker.models import FakePipelineExecution, SageMakerModelBackend, sagemaker_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response

ACCOUNT, REGION = "000000000000", "us-east-1"
FINAL = {"Succeeded", "Failed", "Stopped"}


def iso(time: datetime) -> str:
    return time.replace(tzinfo=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def refused(code: str, message: str, status: int = 400) -> Response:
    body = json.dumps({"__type": code, "message": message})
    return Response(body, status, content_type="application/x-amz-json-1.1")


class StandIn:
    """moto's SageMaker and what is added to it."""

    def __init__(self, localstack_url: str, finish_after: float | None):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.finish_after = finish_after
        self.lock = threading.RLock()
        self.calls: list[dict[str, Any]] = []
        self.tokens: dict[str, str] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.events = boto3.client(
            "events",
            endpoint_url=localstack_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        begin = FakePipelineExecution.__init__

        def executing(execution: FakePipelineExecution, *args: Any, **kwargs: Any) -> None:
            begin(execution, *args, **kwargs)
            execution.pipeline_execution_status = "Executing"

        FakePipelineExecution.__init__ = executing  # type: ignore[method-assign]

    @property
    def backend(self) -> SageMakerModelBackend:
        return sagemaker_backends[ACCOUNT][REGION]

    def executions(self) -> list[FakePipelineExecution]:
        return [run for line in self.backend.pipelines.values() for run in line.pipeline_executions.values()]

    # What SageMaker does.

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if request.path.startswith("/_stand-in/"):
            return Control(self).answer(request)(environ, start_response)
        target = request.headers.get("X-Amz-Target", "")
        if not target.startswith("SageMaker."):
            return self.moto(environ, start_response)
        operation = target.removeprefix("SageMaker.")
        data = request.get_data()
        body = json.loads(data or b"{}")
        with self.lock:
            self.calls.append({"operation": operation, "time": time.time(), "body": body})
            fault = self.faults[operation].pop(0) if self.faults[operation] else None
        if fault and not fault.get("after"):
            time.sleep(fault.get("seconds", 0))
            return self.fault(fault)(environ, start_response)
        act = getattr(self, operation, None)
        response = act(body) if act else None
        if fault and response is not None:
            # Done, and the answer lost: the caller cannot know.
            time.sleep(fault.get("seconds", 0))
            response = self.fault(fault)
        if response is not None:
            return response(environ, start_response)
        # The body has been read: moto gets a copy.
        environ["wsgi.input"] = io.BytesIO(data)
        return self.moto(environ, start_response)

    @staticmethod
    def fault(fault: dict[str, Any]) -> Response:
        return refused(fault.get("code", "InternalFailure"), "injected by the test", fault.get("status", 500))

    def StartPipelineExecution(self, body: dict[str, Any]) -> Response:
        name = body["PipelineName"].rsplit("/", 1)[-1]
        token = body.get("ClientRequestToken")
        if token is not None and not 32 <= len(token) <= 128:
            return refused("ValidationException", "clientRequestToken must have 32 to 128 characters")
        with self.lock:
            known = {key.lower(): key for key in self.backend.pipelines}
            if name.lower() not in known:
                return refused("ResourceNotFound", f"Pipeline '{name}' does not exist.", 404)
            pipeline = self.backend.pipelines[known[name.lower()]]
            if token in self.tokens:
                return self.json({"PipelineExecutionArn": self.tokens[token]})
            definition = pipeline.pipeline_definition
            definition = json.loads(definition) if isinstance(definition, str) else definition
            declared = {parameter["Name"] for parameter in definition.get("Parameters", [])}
            given = body.get("PipelineParameters", [])
            if unknown := [p["Name"] for p in given if p["Name"] not in declared]:
                return refused("ValidationException", f"Parameters {unknown} are not defined in the pipeline")
            answer = self.backend.start_pipeline_execution(
                pipeline.pipeline_name,
                body.get("PipelineExecutionDisplayName") or f"execution-{int(time.time() * 1000)}",
                given,
                body.get("PipelineExecutionDescription", ""),
                body.get("ParallelismConfiguration"),
                token,
            )
            arn = answer["PipelineExecutionArn"]
            if token:
                self.tokens[token] = arn
        threading.Thread(target=self.tell, args=(arn, None), daemon=True).start()
        if self.finish_after is not None:
            threading.Timer(self.finish_after, self.finish, args=(arn, "Succeeded")).start()
        return self.json(answer)

    def StopPipelineExecution(self, body: dict[str, Any]) -> Response:
        self.finish(body["PipelineExecutionArn"], "Stopped")
        return self.json({"PipelineExecutionArn": body["PipelineExecutionArn"]})

    def DescribeProcessingJob(self, body: dict[str, Any]) -> Response:
        job = self.jobs.get(body["ProcessingJobName"])
        if job is None:
            return refused("ResourceNotFound", "Could not find requested job with name: " + body["ProcessingJobName"])
        return self.json(job)

    @staticmethod
    def json(answer: Any) -> Response:
        return Response(json.dumps(answer), 200, content_type="application/x-amz-json-1.1")

    # What tests and time do.

    def finish(self, arn: str, status: str) -> None:
        """Ends an execution, as its last step would."""
        with self.lock:
            execution = next(run for run in self.executions() if run.arn == arn)
            before = execution.pipeline_execution_status
            if before in FINAL:
                return
            execution.pipeline_execution_status = status
            execution.last_modified_time = utcnow()
        self.tell(arn, before)

    def tell(self, arn: str, before: str | None) -> None:
        """Puts the event of an execution's status on the default bus, as SageMaker does."""
        execution = next(run for run in self.executions() if run.arn == arn)
        pipeline_arn = arn.split("/execution/")[0]
        detail = {
            "pipelineExecutionDisplayName": execution.pipeline_execution_display_name,
            "pipelineExecutionDescription": execution.pipeline_execution_description,
            "currentPipelineExecutionStatus": execution.pipeline_execution_status,
            "executionStartTime": iso(execution.start_time),
            "pipelineArn": pipeline_arn,
            "pipelineExecutionArn": arn,
        }
        if before:
            detail["previousPipelineExecutionStatus"] = before
        if execution.pipeline_execution_status in FINAL:
            detail["executionEndTime"] = iso(execution.last_modified_time)
        self.events.put_events(
            Entries=[
                {
                    "Source": "aws.sagemaker",
                    "DetailType": "SageMaker Model Building Pipeline Execution Status Change",
                    "Resources": [pipeline_arn, arn],
                    "Detail": json.dumps(detail),
                }
            ]
        )


class Control:
    """How tests steer the stand-in.

    GET  /_stand-in/calls       every SageMaker call so far: operation, time, body
    GET  /_stand-in/executions  every pipeline execution: arn, status, token, display name, parameters
    POST /_stand-in/finish      {"arn", "status"}: ends an execution
    POST /_stand-in/job         a DescribeProcessingJob answer, by its ProcessingJobName
    POST /_stand-in/fault       {"operation", "count", "status", "code", "seconds", "after"}: the next calls fail,
                                before or after having been done
    """

    def __init__(self, stand_in: StandIn):
        self.stand_in = stand_in

    def answer(self, request: Request) -> Response:
        action = getattr(self, request.path.removeprefix("/_stand-in/"), None)
        if action is None:
            return Response("no such control", 404)
        body = request.get_json(silent=True) if request.method == "POST" else None
        return Response(json.dumps(action(body), default=str), content_type="application/json")

    def calls(self, _: None) -> Any:
        return self.stand_in.calls

    def executions(self, _: None) -> Any:
        return [
            {
                "arn": run.arn,
                "status": run.pipeline_execution_status,
                "token": run.client_request_token,
                "displayName": run.pipeline_execution_display_name,
                "description": run.pipeline_execution_description,
                "parameters": {p["Name"]: p["Value"] for p in run.pipeline_parameters or []},
            }
            for run in self.stand_in.executions()
        ]

    def finish(self, body: dict[str, Any]) -> Any:
        self.stand_in.finish(body["arn"], body["status"])
        return {}

    def job(self, body: dict[str, Any]) -> Any:
        self.stand_in.jobs[body["ProcessingJobName"]] = body
        return {}

    def fault(self, body: dict[str, Any]) -> Any:
        with self.stand_in.lock:
            self.stand_in.faults[body["operation"]] += [body] * body.get("count", 1)
        return {}


class Quiet(WSGIRequestHandler):
    """Keeps connections alive and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--localstack", required=True, help="URL of the LocalStack whose bus hears of the executions")
    parser.add_argument("--finish-after", type=float, help="seconds after which an execution succeeds by itself")
    arguments = parser.parse_args()
    stand_in = StandIn(arguments.localstack, arguments.finish_after)
    run_simple("127.0.0.1", arguments.port, stand_in, threaded=True, request_handler=Quiet)


if __name__ == "__main__":
    main()
