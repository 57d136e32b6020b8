"""Reads Driftwarden's files with the classes of the SageMaker Python SDK, as notebooks do.

    bash tests/setup.sh sdk
    .venv/sdk/bin/python -m pytest -p no:warnings tests/peers/sagemaker_sdk --results FOLDER

The SDK's classes do not read local files: `from_file_path` uploads the file to S3 and reads it back, and the methods of a job read its S3
output. `Session` below implements the part of the SDK's session that they call, in memory. Everything else is the SDK. No call leaves the
machine, and no credentials are needed.
"""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError
from sagemaker.model_monitor import Constraints, ConstraintViolations, MonitoringExecution, Statistics
from sagemaker.model_monitor.model_monitoring import BaseliningJob
from sagemaker.processing import ProcessingOutput

OUTPUT = "s3://bucket/results"
KINDS = {"statistics": Statistics, "constraints": Constraints, "constraint_violations": ConstraintViolations}


class Session:
    """The part of `sagemaker.session.Session` that reads and saves monitoring files."""

    default_bucket_prefix = None

    def __init__(self, files: dict[str, str], status: str = "Completed") -> None:
        self.objects = {f"{OUTPUT}/{name}": body for name, body in files.items()}
        self.status = status

    def default_bucket(self) -> str:
        return "bucket"

    def upload_string_as_file_body(self, body: str, bucket: str, key: str, kms_key: str | None) -> None:
        self.objects[f"s3://{bucket}/{key}"] = body

    def read_s3_file(self, bucket: str, key_prefix: str) -> str:
        if (uri := f"s3://{bucket}/{key_prefix}") not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return self.objects[uri]

    def describe_processing_job(self, job_name: str) -> dict[str, str]:
        return {"ProcessingJobStatus": self.status}


@pytest.fixture
def session(results: Path) -> Session:
    return Session({file.name: file.read_text() for file in results.glob("*.json")})


@pytest.fixture
def output() -> ProcessingOutput:
    return ProcessingOutput(source="/opt/ml/processing/output", destination=OUTPUT)


def execution(session: Session, output: ProcessingOutput) -> MonitoringExecution:
    return MonitoringExecution(session, "monitoring-execution", inputs=[], output=output)


def strict(text: str) -> Any:
    """Parses JSON and rejects NaN and Infinity, which Python's parser accepts."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", KINDS)
def test_file_is_read_and_saved_unchanged(name: str, results: Path, session: Session) -> None:
    path = results / f"{name}.json"
    if name == "constraint_violations" and not path.exists():
        pytest.skip("there were no violations")
    read = KINDS[name].from_file_path(str(path), sagemaker_session=session)
    assert read.body_dict == strict(path.read_text())
    read.session = session  # `Statistics` and `ConstraintViolations` drop theirs when they are read.
    saved = read.save(f"{OUTPUT}/saved.json")
    assert strict(session.objects[saved]) == read.body_dict


def test_baseline_job_suggests_files(session: Session, output: ProcessingOutput) -> None:
    job = BaseliningJob(session, "baseline", inputs=[], outputs=[output])
    statistics, constraints = job.baseline_statistics().body_dict, job.suggested_constraints().body_dict
    assert statistics["dataset"]["item_count"] > 0
    if "features" not in statistics:
        pytest.skip("not of data quality")
    names = [feature["name"] for feature in statistics["features"]]
    assert names
    assert {feature["name"] for feature in constraints["features"]} <= set(names)


def test_monitoring_execution_has_files(results: Path, session: Session, output: ProcessingOutput) -> None:
    run = execution(session, output)
    assert run.statistics().body_dict["dataset"]["item_count"] > 0
    found = run.constraint_violations()
    if not (results / "constraint_violations.json").exists():
        assert found is None
        return
    assert found.body_dict["violations"]
    for violation in found.body_dict["violations"]:
        assert violation["constraint_check_type"] and violation["description"]
        assert "feature_name" in violation or "metric_name" in violation


def test_no_violations_means_no_file(session: Session, output: ProcessingOutput) -> None:
    session.objects.pop(f"{OUTPUT}/constraint_violations.json", None)
    assert execution(session, output).constraint_violations() is None


def test_notebooks_find_the_numbers(session: Session, output: ProcessingOutput) -> None:
    statistics = execution(session, output).statistics().body_dict
    if "features" not in statistics:
        pytest.skip("not of data quality")
    for feature in statistics["features"]:
        assert feature["inferred_type"] in {"Integral", "Fractional", "String", "Unknown"}
        kinds = [kind for kind in ("numerical_statistics", "string_statistics") if kind in feature]
        if feature["inferred_type"] == "Unknown":
            continue
        assert len(kinds) == 1, feature["name"]
        of = feature[kinds[0]]
        assert of["common"]["num_present"] + of["common"]["num_missing"] == statistics["dataset"]["item_count"]
        if kinds == ["numerical_statistics"]:
            assert of["min"] <= of["mean"] <= of["max"]
            buckets = of["distribution"]["kll"]["buckets"]
            assert sum(bucket["count"] for bucket in buckets) == pytest.approx(of["common"]["num_present"])
            assert of["distribution"]["kll"]["sketch"]["parameters"].keys() == {"c", "k"}
        else:
            assert of["distinct_count"] >= len(of["distribution"]["categorical"]["buckets"]) > 0


def test_monitoring_of_feature_can_be_switched(results: Path, session: Session) -> None:
    constraints = Constraints.from_file_path(str(results / "constraints.json"), sagemaker_session=session)
    if "features" not in constraints.body_dict:
        pytest.skip("not of data quality")
    first = constraints.body_dict["features"][0]
    constraints.set_monitoring(False, feature_name=first["name"])
    assert first["monitoring_config_overrides"]["evaluate_constraints"] == "Disabled"
    constraints.set_monitoring(False)
    assert constraints.body_dict["monitoring_config"]["evaluate_constraints"] == "Disabled"
