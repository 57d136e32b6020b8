"""`--results FOLDER`: what `driftwarden analyze` wrote. Without it, the small sample beside this file is read."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, default=Path(__file__).parent / "sample", help="folder with the files of data or model quality")


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Path:
    return request.config.getoption("results")
