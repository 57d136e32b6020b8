"""Responses of the simulated SageMaker, in AWS's JSON protocol."""

import json
from typing import Any

from werkzeug.wrappers import Response

ACCOUNT, REGION = "000000000000", "us-east-1"
JSON = "application/x-amz-json-1.1"


def arn_for(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def respond(answer: Any) -> Response:
    return Response(json.dumps(answer), 200, content_type=JSON)


def reject(code: str, message: str, status: int = 400) -> Response:
    return Response(json.dumps({"__type": code, "message": message}), status, content_type=JSON)


def invalid(message: str) -> Response:
    return reject("ValidationException", message)


def page(name: str, items: list[Any], body: dict[str, Any]) -> Response:
    """A page of a list, by MaxResults and NextToken."""
    start, most = int(body.get("NextToken") or 0), body.get("MaxResults", 100)
    answer: dict[str, Any] = {name: items[start : start + most]}
    if start + most < len(items):
        answer["NextToken"] = str(start + most)
    return respond(answer)
