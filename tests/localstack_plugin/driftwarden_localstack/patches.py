"""Patches LocalStack 4.14 where tests depend on behavior of EventBridge and CloudWatch that it lacks."""

import json
import logging
import math
import os
import sqlite3
import tempfile
import threading
import time
from datetime import UTC, datetime

import boto3
from localstack.runtime import hooks
from localstack.utils.patch import patch

LOG = logging.getLogger(__name__)


@hooks.on_infra_start()
def apply() -> None:
    from localstack.services.cloudwatch.cloudwatch_database_helper import CloudwatchDatabase
    from localstack.services.events import target as targets
    from localstack.services.lambda_ import urlrouter
    from localstack.services.events.provider import EventsProvider
    from localstack.services.s3 import provider as s3

    # In the folder of the run. LocalStack's default folder is shared by all LocalStacks of the machine and is not deleted.
    s3.DEFAULT_S3_TMP_DIR = tempfile.mkdtemp()
    ignore_disabled_rules(EventsProvider)
    apply_retry_policies(targets.TargetSender)
    start_pipelines(targets.SagemakerTargetSender)
    add_percentiles(CloudwatchDatabase)
    authorize_function_urls(urlrouter)


def authorize_function_urls(urlrouter) -> None:
    """Makes function URLs reachable, and authorizes their callers.

    LocalStack's URLs have the function in the host name, which has no address here, so this adds URLs with the function in the path. Lambda
    rejects an unsigned request to a URL with `AuthType` AWS_IAM, and passes the caller to the function (developer guide, pages
    `urls-auth` and `urls-invocation`). LocalStack does neither. The signature itself is not checked.
    """
    from localstack.services.lambda_.provider import LambdaProvider

    @patch(urlrouter.FunctionUrlRouter.register_routes)
    def register_routes(fn, self):
        if not self.registered:
            route = "/_function-url/<region>/<api_id>/"
            self.router.add(route, endpoint=self.handle_lambda_url_invocation, defaults={"path": ""}, methods=["GET", "POST"])
        fn(self)

    @patch(LambdaProvider.create_function_url_config)
    def create_function_url_config(fn, self, context, *args, **kwargs):
        answer = fn(self, context, *args, **kwargs)
        host, _, port_and_path = answer["FunctionUrl"].removeprefix("http://").partition(":")
        api_id, port = host.split(".", 1)[0], port_and_path.strip("/")
        url = f"http://127.0.0.1:{port}/_function-url/{context.region}/{api_id}/"
        for function in urlrouter.lambda_stores[context.account_id][context.region].functions.values():
            for config in function.function_url_configs.values():
                if config.url_id == api_id:
                    config.url = url
        answer["FunctionUrl"] = url
        return answer

    handle = urlrouter.FunctionUrlRouter.handle_lambda_url_invocation

    def authorize(self, request, api_id, region, **url_params):
        authorization = request.headers.get("Authorization", "")
        if not (authorization.startswith("AWS4-HMAC-SHA256 ") and f"/{region}/lambda/aws4_request" in authorization):
            response = urlrouter.Response('{"Message":"Forbidden"}', 403)
            response.mimetype = "application/json"
            response.headers["x-amzn-ErrorType"] = "AccessDeniedException"
            return response
        return handle(self, request, api_id, region, **url_params)

    urlrouter.FunctionUrlRouter.handle_lambda_url_invocation = authorize
    event_for_lambda_url = urlrouter.event_for_lambda_url

    def with_caller(api_id, request):
        event = event_for_lambda_url(api_id, request)
        # Account and caller of the credentials `test`.
        account = "000000000000"
        iam = {"accessKey": "test", "accountId": account, "callerId": account, "userArn": f"arn:aws:iam::{account}:root", "userId": account}
        event["requestContext"] |= {"accountId": account, "authorizer": {"iam": iam}}
        return event

    urlrouter.event_for_lambda_url = with_caller


def ignore_disabled_rules(provider: type) -> None:
    """A disabled rule matches nothing (API, `DisableRule`). LocalStack stores the state and continues to match."""

    @patch(provider._process_rules)
    def process_rules(fn, self, rule, *args, **kwargs):
        return None if rule.state == "DISABLED" else fn(self, rule, *args, **kwargs)

    @patch(provider._get_scheduled_rule_job_function)
    def scheduled(fn, self, account_id, region, rule):
        send = fn(self, account_id, region, rule)
        return lambda *args, **kwargs: None if rule.state == "DISABLED" else send(*args, **kwargs)


def apply_retry_policies(sender: type) -> None:
    """Applies RetryPolicy and DeadLetterConfig of a rule target, which LocalStack only stores.

    EventBridge user guide, page `eb-rule-dlq`: a failed delivery is retried, then sent to the queue with the attributes RULE_ARN,
    TARGET_ARN, ERROR_CODE, and ERROR_MESSAGE. Here, retries are one second apart.
    """

    @patch(sender.process_event)
    def process_event(fn, self, event, *args, **kwargs):
        kept = json.loads(json.dumps(event, default=str))
        kept.pop("event-bus-name", None)
        try:
            return fn(self, event, *args, **kwargs)
        except Exception as error:
            threading.Thread(target=again, args=(fn, self, kept, error, args, kwargs), daemon=True).start()
            return None

    def again(fn, self, event, error, args, kwargs):
        attempts = min(self.target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 185), 3)
        for _ in range(attempts):
            time.sleep(1)
            try:
                return fn(self, dict(event), *args, **kwargs)
            except Exception as another:
                error = another
        LOG.warning("target %s of rule %s failed after all retries: %s", self.target["Arn"], self.rule_arn, error)
        queue_arn = self.target.get("DeadLetterConfig", {}).get("Arn")
        if queue_arn is None:
            return None
        from localstack.aws.connect import connect_to
        from localstack.utils.aws.arns import sqs_queue_url_for_arn

        attributes = {
            "RULE_ARN": self.rule_arn,
            "TARGET_ARN": self.target["Arn"],
            "ERROR_CODE": type(error).__name__,
            "ERROR_MESSAGE": str(error)[:1000] or "unknown",
        }
        sqs = connect_to(aws_access_key_id=self.account_id, region_name=self.region).sqs
        return sqs.send_message(
            QueueUrl=sqs_queue_url_for_arn(queue_arn),
            MessageBody=json.dumps(event),
            MessageAttributes={n: {"DataType": "String", "StringValue": v} for n, v in attributes.items()},
        )


def start_pipelines(sender: type) -> None:
    """Starts a SageMaker pipeline that is the target of a rule. LocalStack raises NotImplementedError."""

    @patch(sender.send_event)
    def send_event(_fn, self, event, *_args, **_kwargs):
        from localstack.utils.json import extract_jsonpath

        def value(text: str) -> str:
            return str(extract_jsonpath(event, text)) if text.startswith("$.") else text

        listed = self.target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
        client = boto3.client(
            "sagemaker",
            endpoint_url=os.environ["FUNCTION_AWS_ENDPOINT_URL_SAGEMAKER"],
            region_name=self.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.start_pipeline_execution(
            PipelineName=self.target["Arn"],
            PipelineParameters=[{"Name": p["Name"], "Value": value(p["Value"])} for p in listed],
        )


def add_percentiles(database: type) -> None:
    """Adds percentiles, aligned periods, and exact dimensions to GetMetricData.

    LocalStack fails for percentiles (`p99`), starts periods at any second, and matches a dimension value by its prefix. CloudWatch
    computes percentiles of values that were sent with Values and Counts, which LocalStack stores separately. It rounds the start down to
    the period (API, `GetMetricData`: to whole minutes, or to the period if that is shorter) and matches whole dimension values.
    """

    @patch(database._get_ordered_dimensions_with_separator)
    def ordered(fn, self, dims, for_search=False):
        text = fn(self, dims)
        if not (for_search and text):
            return text
        # With the separator at the end of each dimension, a search for `churn` does not find `churn-2`.
        return "".join(f"%{dimension}\t%" for dimension in text.rstrip("\t").split("\t"))

    @patch(database.get_metric_data_stat)
    def get_metric_data_stat(fn, self, account_id, region, query, start_time, end_time, scan_by):
        asked = query["MetricStat"]
        stat, period = asked["Stat"], asked["Period"]
        start, end = self._convert_timestamp_to_unix(start_time), self._convert_timestamp_to_unix(end_time)
        start -= start % min(period, 60)
        if not stat.startswith("p"):
            return fn(self, account_id, region, query, datetime.fromtimestamp(start, UTC), end_time, scan_by)
        metric = asked["Metric"]
        searched = self._get_ordered_dimensions_with_separator(metric.get("Dimensions"), for_search=True) or ""
        with self.DATABASE_LOCK, sqlite3.connect(self.METRICS_DB_READ_ONLY, uri=True) as connection:
            rows = connection.execute(
                f"SELECT timestamp, value FROM {self.TABLE_SINGLE_METRICS} WHERE account_id = ? AND region = ? AND namespace = ? "
                "AND metric_name = ? AND COALESCE(dimensions, '') LIKE ? AND timestamp >= ? AND timestamp < ? ORDER BY value",
                (account_id, region, metric["Namespace"], metric["MetricName"], searched, start, end),
            ).fetchall()
        periods = {}
        for timestamp, value in rows:
            periods.setdefault(start + (timestamp - start) // period * period, []).append(value)
        share = float(stat[1:]) / 100
        found = sorted((at, values[max(math.ceil(share * len(values)) - 1, 0)]) for at, values in periods.items())
        if scan_by != "TimestampAscending":
            found.reverse()
        return {"timestamps": [at for at, _ in found], "values": [value for _, value in found]}
