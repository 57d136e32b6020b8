"""The simulated SageMaker (the stand-in): moto's server, with the operations that Driftwarden uses and moto lacks.

moto has pipelines and their executions, but ends every execution immediately, ignores ClientRequestToken, and sends no events. A small
WSGI layer adds SageMaker's documented behavior:

- The same ClientRequestToken returns the same execution (API, StartPipelineExecution).
- Parameters that the pipeline does not declare are rejected.
- Executions run until a test ends them, or succeed after a set time.
- Each change of status sends `SageMaker Model Building Pipeline Execution Status Change` to the default bus.
- Processing jobs, model cards, monitoring schedules, and their executions are those that the test adds.
- The alert of a monitoring schedule follows its executions by SageMaker's rule, with its history (developer guide, page
  `model-dashboard-alerts`). A schedule can get another job definition.
- `harness.hosting` adds models, endpoints, model packages, and SageMaker Runtime; `harness.lineage` adds lineage and batch transform jobs.

Tests control it under `/_stand-in/`: see `Control`.
"""

import argparse
import io
import json
import re
import threading
import time
from collections import defaultdict
from datetime import datetime, timezone
from functools import partialmethod
from typing import Any, Callable

import boto3
from moto.core.utils import utcnow
from moto.sagemaker.models import FakePipelineExecution, SageMakerModelBackend, sagemaker_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response

from .answers import ACCOUNT, REGION, arn_for, page, reject, respond
from .hosting import Hosting, HostingControl
from .lineage import Lineage, LineageControl

FINAL = {"Succeeded", "Failed", "Stopped"}
# Model Monitor creates one alert with each schedule.
ALERT = "monitoring-alert"
MONITORING_TYPES = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")


def iso(time: datetime) -> str:
    return time.replace(tzinfo=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(time: datetime) -> float:
    """A time in the form of the JSON protocol."""
    return time.replace(tzinfo=timezone.utc).timestamp()


class StandIn(Hosting, Lineage):
    """moto's SageMaker with additional operations."""

    def __init__(self, localstack_url: str, finish_after: float | None):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.finish_after = finish_after
        self.lock = threading.RLock()
        self.clear()
        self.events = boto3.client(
            "events",
            endpoint_url=localstack_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        super().__init__(localstack_url)
        begin = FakePipelineExecution.__init__

        def executing(execution: FakePipelineExecution, *args: Any, **kwargs: Any) -> None:
            begin(execution, *args, **kwargs)
            execution.pipeline_execution_status = "Executing"

        FakePipelineExecution.__init__ = executing  # type: ignore[method-assign]

    def clear(self) -> None:
        """Removes all pipelines, schedules, endpoints, faults, and calls."""
        with self.lock:
            self.backend.reset()
            Hosting.clear(self)
            Lineage.clear(self)
            self.calls: list[dict[str, Any]] = []
            self.tokens: dict[str, str] = {}
            self.jobs: dict[str, dict[str, Any]] = {}
            self.cards: dict[str, dict[str, Any]] = {}
            self.definitions: dict[tuple[str, str], dict[str, Any]] = {}
            self.schedules: dict[str, dict[str, Any]] = {}
            self.monitored: dict[str, dict[float, dict[str, Any]]] = defaultdict(dict)
            self.alert_history: dict[str, list[dict[str, Any]]] = defaultdict(list)
            self.faults: dict[str, list[dict[str, Any]]] = defaultdict(list)

    @property
    def backend(self) -> SageMakerModelBackend:
        return sagemaker_backends[ACCOUNT][REGION]

    def executions(self) -> list[FakePipelineExecution]:
        return [run for line in self.backend.pipelines.values() for run in line.pipeline_executions.values()]

    # Operations of SageMaker.

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if request.path.startswith("/_stand-in/"):
            return Control(self).answer(request)(environ, start_response)
        if request.path.startswith("/endpoints/"):
            fault = self.take_fault("InvokeEndpoint")
            return (self.fault(fault) if fault else self.InvokeEndpoint(request))(environ, start_response)
        target = request.headers.get("X-Amz-Target", "")
        if not target.startswith("SageMaker."):
            return self.moto(environ, start_response)
        operation = target.removeprefix("SageMaker.")
        data = request.get_data()
        body = json.loads(data or b"{}")
        with self.lock:
            self.calls.append({"operation": operation, "time": time.time(), "body": body})
        fault = self.take_fault(operation)
        if fault and not fault.get("after"):
            time.sleep(fault.get("seconds", 0))
            return self.fault(fault)(environ, start_response)
        act = getattr(self, operation, None)
        response = act(body) if act else None
        if fault and response is not None:
            # The call was executed, and its response is lost: the caller cannot distinguish this from a failure.
            time.sleep(fault.get("seconds", 0))
            response = self.fault(fault)
        if response is not None:
            return response(environ, start_response)
        # The body has been read: moto gets a copy.
        environ["wsgi.input"] = io.BytesIO(data)
        return self.moto(environ, start_response)

    def take_fault(self, operation: str) -> dict[str, Any] | None:
        with self.lock:
            return self.faults[operation].pop(0) if self.faults[operation] else None

    @staticmethod
    def fault(fault: dict[str, Any]) -> Response:
        return reject(fault.get("code", "InternalFailure"), "injected by the test", fault.get("status", 500))

    def StartPipelineExecution(self, body: dict[str, Any]) -> Response:
        name = body["PipelineName"].rsplit("/", 1)[-1]
        token = body.get("ClientRequestToken")
        if token is not None and not 32 <= len(token) <= 128:
            return reject("ValidationException", "clientRequestToken must have 32 to 128 characters")
        with self.lock:
            known = {key.lower(): key for key in self.backend.pipelines}
            if name.lower() not in known:
                return reject("ResourceNotFound", f"Pipeline '{name}' does not exist.", 404)
            pipeline = self.backend.pipelines[known[name.lower()]]
            if token in self.tokens:
                return respond({"PipelineExecutionArn": self.tokens[token]})
            definition = pipeline.pipeline_definition
            definition = json.loads(definition) if isinstance(definition, str) else definition
            declared = {parameter["Name"] for parameter in definition.get("Parameters", [])}
            given = body.get("PipelineParameters", [])
            if unknown := [p["Name"] for p in given if p["Name"] not in declared]:
                return reject("ValidationException", f"Parameters {unknown} are not defined in the pipeline")
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
        threading.Thread(target=self.publish_status, args=(arn, None), daemon=True).start()
        if self.finish_after is not None:
            threading.Timer(self.finish_after, self.finish, args=(arn, "Succeeded")).start()
        return respond(answer)

    def StopPipelineExecution(self, body: dict[str, Any]) -> Response:
        self.finish(body["PipelineExecutionArn"], "Stopped")
        return respond({"PipelineExecutionArn": body["PipelineExecutionArn"]})

    def DescribeProcessingJob(self, body: dict[str, Any]) -> Response:
        job = self.jobs.get(body["ProcessingJobName"])
        if job is None:
            return reject("ResourceNotFound", "Could not find requested job with name: " + body["ProcessingJobName"])
        return respond(job)

    def ListPipelineExecutions(self, body: dict[str, Any]) -> Response:
        name = body["PipelineName"].rsplit("/", 1)[-1].lower()
        known = {key.lower(): pipeline for key, pipeline in self.backend.pipelines.items()}
        if name not in known:
            return reject("ResourceNotFound", f"Pipeline '{name}' does not exist.", 404)
        runs = sorted(known[name].pipeline_executions.values(), key=lambda run: run.start_time, reverse=True)
        summaries = [
            {
                "PipelineExecutionArn": run.arn,
                "PipelineExecutionDisplayName": run.pipeline_execution_display_name,
                "PipelineExecutionStatus": run.pipeline_execution_status,
                "StartTime": seconds(run.start_time),
            }
            for run in runs
        ]
        return page("PipelineExecutionSummaries", summaries, body)

    def DescribePipelineExecution(self, body: dict[str, Any]) -> Response:
        run = next((run for run in self.executions() if run.arn == body["PipelineExecutionArn"]), None)
        if run is None:
            return reject("ResourceNotFound", "The execution does not exist.", 404)
        return respond(
            {
                "PipelineArn": run.arn.split("/execution/")[0],
                "PipelineExecutionArn": run.arn,
                "PipelineExecutionDisplayName": run.pipeline_execution_display_name,
                "PipelineExecutionStatus": run.pipeline_execution_status,
                "CreationTime": seconds(run.creation_time),
                "LastModifiedTime": seconds(run.last_modified_time),
            }
        )

    def DescribeModelCard(self, body: dict[str, Any]) -> Response:
        card = self.cards.get(body["ModelCardName"])
        return respond(card) if card else reject("ResourceNotFound", "The model card does not exist.", 404)

    # Monitoring schedules, their executions, and alerts.

    def find_schedule(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self.schedules.get(body["MonitoringScheduleName"].lower())

    def ListMonitoringSchedules(self, body: dict[str, Any]) -> Response:
        wanted = ("MonitoringScheduleName", "EndpointName", "MonitoringScheduleStatus", "MonitoringType")
        summaries = [
            {key: schedule[key] for key in wanted if key in schedule}
            | {"MonitoringScheduleArn": schedule["Arn"], "CreationTime": schedule["CreationTime"], "LastModifiedTime": schedule["LastModifiedTime"]}
            | {key: name for key, name in schedule["MonitoringScheduleConfig"].items() if key == "MonitoringJobDefinitionName"}
            for schedule in self.schedules.values()
            if body.get("EndpointName") in (None, schedule.get("EndpointName"))
        ]
        return page("MonitoringScheduleSummaries", summaries, body)

    def DescribeMonitoringSchedule(self, body: dict[str, Any]) -> Response:
        schedule = self.find_schedule(body)
        if schedule is None:
            return reject("ResourceNotFound", "The monitoring schedule does not exist.", 404)
        return respond(
            {
                "MonitoringScheduleArn": schedule["Arn"],
                "MonitoringScheduleName": schedule["MonitoringScheduleName"],
                "MonitoringScheduleStatus": schedule["MonitoringScheduleStatus"],
                "CreationTime": schedule["CreationTime"],
                "LastModifiedTime": schedule["LastModifiedTime"],
                "MonitoringScheduleConfig": schedule["MonitoringScheduleConfig"],
            }
            | {key: schedule[key] for key in ("EndpointName", "MonitoringType") if key in schedule}
        )

    def UpdateMonitoringSchedule(self, body: dict[str, Any]) -> Response:
        schedule, config = self.find_schedule(body), body["MonitoringScheduleConfig"]
        if schedule is None:
            return reject("ResourceNotFound", "The monitoring schedule does not exist.", 404)
        definition = config.get("MonitoringJobDefinitionName")
        if definition is not None and (config.get("MonitoringType"), definition) not in self.definitions:
            return reject("ResourceNotFound", f"Could not find job definition {definition}.", 404)
        # Replaces the whole configuration: omitted fields are removed.
        schedule |= {"MonitoringScheduleConfig": config, "LastModifiedTime": time.time()}
        return respond({"MonitoringScheduleArn": schedule["Arn"]})

    def create_definition(self, body: dict[str, Any], kind: str) -> Response:
        name = body["JobDefinitionName"]
        arn = arn_for(f"{re.sub(r'(?<=[a-z])(?=[A-Z])', '-', kind).lower()}-job-definition", name.lower())
        if (kind, name) in self.definitions:
            return reject("ResourceInUse", f"Job definition {arn} already exists.")
        if missing := {f"{kind}AppSpecification", f"{kind}JobInput", f"{kind}JobOutputConfig", "JobResources", "RoleArn"} - set(body):
            return reject("ValidationException", f"Members {sorted(missing)} must not be null")
        more = {"JobDefinitionArn": arn, "CreationTime": time.time()}
        self.definitions[kind, name] = {key: value for key, value in body.items() if key != "Tags"} | more
        return respond({"JobDefinitionArn": arn})

    def describe_definition(self, body: dict[str, Any], kind: str) -> Response:
        known = self.definitions.get((kind, body["JobDefinitionName"]))
        return respond(known) if known else reject("ResourceNotFound", "Could not find the job definition.", 404)

    def ListMonitoringExecutions(self, body: dict[str, Any]) -> Response:
        name = body.get("MonitoringScheduleName", "").lower()
        executions = [e for key, of in self.monitored.items() if name in ("", key) for e in of.values()]
        after, before = body.get("ScheduledTimeAfter", 0), body.get("ScheduledTimeBefore", float("inf"))
        executions = [e for e in executions if after < e["ScheduledTime"] < before]
        key = {"ScheduledTime": "ScheduledTime", "Status": "MonitoringExecutionStatus"}.get(body.get("SortBy", ""), "CreationTime")
        executions.sort(key=lambda e: e[key], reverse=body.get("SortOrder", "Descending") == "Descending")
        return page("MonitoringExecutionSummaries", executions, body)

    def ListMonitoringAlerts(self, body: dict[str, Any]) -> Response:
        schedule = self.find_schedule(body)
        if schedule is None:
            return reject("ResourceNotFound", "The monitoring schedule does not exist.", 404)
        history = self.alert_history[body["MonitoringScheduleName"].lower()]
        alert = {
            "MonitoringAlertName": ALERT,
            "CreationTime": schedule["CreationTime"],
            "LastModifiedTime": schedule["CreationTime"],
            "AlertStatus": history[-1]["AlertStatus"] if history else "OK",
            "DatapointsToAlert": schedule["DatapointsToAlert"],
            "EvaluationPeriod": schedule["EvaluationPeriod"],
            "Actions": {"ModelDashboardIndicator": {"Enabled": True}},
        }
        return page("MonitoringAlertSummaries", [alert], body)

    def UpdateMonitoringAlert(self, body: dict[str, Any]) -> Response:
        schedule = self.find_schedule(body)
        if schedule is None:
            return reject("ResourceNotFound", "The monitoring schedule does not exist.", 404)
        schedule |= {key: body[key] for key in ("DatapointsToAlert", "EvaluationPeriod")}
        return respond({"MonitoringScheduleArn": schedule["Arn"], "MonitoringAlertName": ALERT})

    def ListMonitoringAlertHistory(self, body: dict[str, Any]) -> Response:
        items = self.alert_history[body["MonitoringScheduleName"].lower()]
        items = items if body.get("SortOrder") == "Ascending" else items[::-1]
        return page("MonitoringAlertHistory", items, body)

    def monitor(self, execution: dict[str, Any]) -> None:
        """Adds an execution and evaluates the schedule's alert: at least M of the N latest ended executions with violations."""
        with self.lock:
            key = execution["MonitoringScheduleName"].lower()
            self.monitored[key][execution["ScheduledTime"]] = execution
            schedule = self.schedules[key]
            ended = [e for _, e in sorted(self.monitored[key].items()) if e["MonitoringExecutionStatus"].startswith("Completed")]
            latest = ended[-schedule["EvaluationPeriod"] :]
            failing = sum(e["MonitoringExecutionStatus"] == "CompletedWithViolations" for e in latest)
            status = "InAlert" if failing >= schedule["DatapointsToAlert"] else "OK"
            history = self.alert_history[key]
            if status != (history[-1]["AlertStatus"] if history else "OK"):
                name = schedule["MonitoringScheduleName"]
                item = {"MonitoringScheduleName": name, "MonitoringAlertName": ALERT, "CreationTime": time.time(), "AlertStatus": status}
                history.append(item)

    # Changes by tests and by time.

    def finish(self, arn: str, status: str) -> None:
        """Ends an execution."""
        with self.lock:
            execution = next(run for run in self.executions() if run.arn == arn)
            before = execution.pipeline_execution_status
            if before in FINAL:
                return
            execution.pipeline_execution_status = status
            execution.last_modified_time = utcnow()
        self.publish_status(arn, before)

    def publish_status(self, arn: str, before: str | None) -> None:
        """Sends the status event of an execution to the default bus."""
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


for kind in MONITORING_TYPES:
    setattr(StandIn, f"Create{kind}JobDefinition", partialmethod(StandIn.create_definition, kind=kind))
    setattr(StandIn, f"Describe{kind}JobDefinition", partialmethod(StandIn.describe_definition, kind=kind))


class Control(HostingControl, LineageControl):
    """Control API of the stand-in. `HostingControl` and `LineageControl` have its other parts.

    GET  /_stand-in/calls       all SageMaker calls: operation, time, body
    GET  /_stand-in/executions  all pipeline executions: arn, status, token, display name, parameters
    POST /_stand-in/finish      {"arn", "status"}: ends an execution
    POST /_stand-in/job         a response of DescribeProcessingJob, by its ProcessingJobName
    POST /_stand-in/card        {"ModelCardName", "Content"}
    POST /_stand-in/schedule    {"MonitoringScheduleName", "ScheduleExpression", "EndpointName"?, "MonitoringScheduleStatus"?,
                                "CreationTime"?, "DatapointsToAlert"?, "EvaluationPeriod"?, "MonitoringType"?,
                                "MonitoringJobDefinitionName"?}
    POST /_stand-in/execution   a MonitoringExecutionSummary, by its schedule and ScheduledTime
    POST /_stand-in/clear       {}: removes everything
    POST /_stand-in/calm        {"operation"}: removes its faults; returns their number
    POST /_stand-in/fault       {"operation", "count", "status", "code", "seconds", "after"}: the next calls fail,
                                before or after they are executed
    """

    def __init__(self, stand_in: StandIn):
        self.stand_in = stand_in

    def answer(self, request: Request) -> Response:
        action = getattr(self, request.path.removeprefix("/_stand-in/"), None)
        if action is None:
            return Response("unknown control operation", 404)
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

    def card(self, body: dict[str, Any]) -> Any:
        now = time.time()
        arn = arn_for("model-card", body["ModelCardName"])
        more = {"ModelCardArn": arn, "ModelCardVersion": 1, "ModelCardStatus": "Approved", "CreationTime": now, "CreatedBy": {}}
        self.stand_in.cards[body["ModelCardName"]] = body | more
        return {}

    def schedule(self, body: dict[str, Any]) -> Any:
        name = body["MonitoringScheduleName"].lower()
        defaults = {
            "MonitoringScheduleStatus": "Scheduled",
            "CreationTime": time.time() - 86400,
            "DatapointsToAlert": 1,
            "EvaluationPeriod": 1,
            "Arn": arn_for("monitoring-schedule", name),
        }
        schedule = defaults | body
        schedule["LastModifiedTime"] = schedule["CreationTime"]
        schedule["MonitoringScheduleConfig"] = {
            "ScheduleConfig": {"ScheduleExpression": schedule["ScheduleExpression"]},
            "MonitoringJobDefinitionName": schedule.get("MonitoringJobDefinitionName", "definition"),
            "MonitoringType": schedule.get("MonitoringType", "DataQuality"),
        }
        self.stand_in.schedules[name] = schedule
        return {}

    def execution(self, body: dict[str, Any]) -> Any:
        self.stand_in.monitor(body)
        return {}

    def clear(self, _: Any) -> Any:
        self.stand_in.clear()
        return {}

    def calm(self, body: dict[str, Any]) -> Any:
        return {"left": len(self.stand_in.faults.pop(body["operation"], []))}

    def fault(self, body: dict[str, Any]) -> Any:
        with self.stand_in.lock:
            self.stand_in.faults[body["operation"]] += [body] * body.get("count", 1)
        return {}


class Quiet(WSGIRequestHandler):
    """Keeps connections alive and writes no log."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--localstack", required=True, help="URL of the LocalStack whose default bus gets the events")
    parser.add_argument("--finish-after", type=float, help="seconds after which an execution succeeds")
    arguments = parser.parse_args()
    stand_in = StandIn(arguments.localstack, arguments.finish_after)
    run_simple("127.0.0.1", arguments.port, stand_in, threaded=True, request_handler=Quiet)


if __name__ == "__main__":
    main()
