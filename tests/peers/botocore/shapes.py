"""Writes the requests and responses of the SageMaker operations that crates/aws calls, with every member, from botocore's model.

    .venv/permissions/bin/python tests/peers/botocore/shapes.py > crates/aws/tests/sagemaker.json

The unit tests of crates/aws compare the members that it writes and reads with this file.
"""

import json
import re
from pathlib import Path

import botocore.session
from botocore.model import Shape

MAX_DEPTH = 9


def sample(shape: Shape, depth: int = 0) -> object:
    """A value of the shape with every member; lists and maps have one entry."""
    if depth > MAX_DEPTH:
        return None
    match shape.type_name:
        case "structure":
            return {name: sample(member, depth + 1) for name, member in shape.members.items()}
        case "list":
            return [sample(shape.member, depth + 1)]
        case "map":
            return {"key": sample(shape.value, depth + 1)}
        case "integer" | "long":
            return 1
        case "float" | "double":
            return 1.5
        case "timestamp":
            return 1790000000.5
        case "boolean":
            return True
        case _:
            return shape.enum[0] if getattr(shape, "enum", None) else "text"


def main() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    sources = (Path(__file__).parents[3] / "crates/aws/src").rglob("*.rs")
    called = {name for source in sources for name in re.findall(r'"sagemaker:(\w+)"', source.read_text())}
    shapes = {}
    for name in sorted(called):
        if name == "InvokeEndpoint":  # of another service
            continue
        operation = model.operation_model(name)
        shapes[name] = {
            "required": sorted(operation.input_shape.required_members),
            "request": sample(operation.input_shape),
            "response": sample(operation.output_shape) if operation.output_shape else {},
        }
    print(json.dumps(shapes, indent=1))


main()
