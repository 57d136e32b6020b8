"""`--results FOLDER`: output of `driftwarden analyze`. Default: the small sample in this folder."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, default=Path(__file__).parent / "sample", help="folder with the files of data or model quality")


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Path:
    return request.config.getoption("results")
