"""One LocalStack per worker of the run, and one deployment on it per set of template parameters.

Tests borrow a deployment one after another, and get it as if it had just been deployed. So each test has it alone: with names,
policy, faults, and kills of its choice.
"""

import atexit
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from harness import stack as harness_stack
from harness.stack import Failed, Stack, check_tools, remove, running
from harness.world import AUTO, World

# Files whose tests share one prepared deployment.
PREPARED = ("test_dashboard.py", "test_docs.py")
# Controller only: number of deployments of each worker.
deployed: list[int] = []


class Pool:
    """Deployments on a LocalStack, by template parameters."""

    def __init__(self, stack: Stack):
        self.stack, self.worlds, self.lent = stack, {}, None

    def borrow(self, policy: str = AUTO, **parameters: str) -> World:
        key = tuple(sorted(parameters.items()))
        known = self.worlds.get(key)
        if self.lent is not None:
            if self.lent is not known:
                # All deployments get the events of the default bus.
                self.lent.silence()
            self.lent.settle(1)
        self.lent = self.worlds[key] = known or World(self.stack, **parameters)
        self.lent.clear(policy)
        return self.lent


@pytest.fixture(autouse=True)
def present_hour(request: pytest.FixtureRequest) -> None:
    """Sets `NOW` of the test's module to the present hour. A test does not begin shortly before the next one."""
    left = 3600 - time.time() % 3600
    if left < 45:
        time.sleep(left)
    # Tests of a prepared deployment use the hour in which it was prepared.
    if hasattr(request.module, "NOW") and request.path.name not in PREPARED:
        request.module.NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running() as stack:
        yield stack


@pytest.fixture(scope="session")
def pool(stack: Stack) -> Pool:
    return Pool(stack)


@pytest.fixture
def make_world(pool: Pool) -> Callable[..., World]:
    """Returns the deployment with these template parameters, reset and with this policy."""
    return pool.borrow


@pytest.fixture
def world(pool: Pool) -> World:
    """A deployment that retrains immediately."""
    return pool.borrow()


@pytest.fixture(scope="session")
def reports() -> Callable[[str], bytes]:
    folder = Path(__file__).parents[1] / "harness/reports"
    return lambda name: (folder / f"{name}.json").read_bytes()


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: starts before tests without this mark")
    if not hasattr(config, "workerinput"):
        # Like Ctrl-C: pytest stops its workers, and they stop their processes. A killed worker leaves its processes running.
        signal.signal(signal.SIGTERM, interrupt)
        os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="driftwarden-")
        atexit.register(remove, Path(tempfile.tempdir))
        try:
            if "AWS_ENDPOINT_URL" not in os.environ:
                check_tools()
        except Failed as failure:
            raise pytest.UsageError(str(failure).removeprefix("error: ")) from None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deployments"] = len(harness_stack.deployments)
    elif harness_stack.deployments:
        deployed.append(len(harness_stack.deployments))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        """Gives each test to the next free worker. All tests of a prepared deployment run first, on one worker."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0].rsplit("/", 1)[-1]
            return file if file in PREPARED else nodeid

    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    deployed.append(getattr(node, "workeroutput", {}).get("deployments", 0))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    if any(deployed):
        terminalreporter.write_line(f"Deployments: {sum(deployed)}, LocalStacks: {sum(map(bool, deployed))}")
