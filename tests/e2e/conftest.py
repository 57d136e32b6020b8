"""One LocalStack for the whole run; one deployment for each test that asks for a `world`.

Deployments share nothing: each has its own bucket, bus, topic, queue, pipeline and namespace.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.stack import Stack, running
from harness.world import World


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running() as stack:
        yield stack


@pytest.fixture
def make_world(stack: Stack) -> Callable[..., World]:
    """Deploys Driftwarden anew, with a policy and template parameters."""

    def make(policy: str | None = None, **parameters: str) -> World:
        return World(stack, policy=policy, **parameters)

    return make


@pytest.fixture(scope="session")
def shared(stack: Stack) -> World:
    """A deployment with the default policy, for tests that each use their own monitors."""
    return World(stack)


@pytest.fixture(scope="session")
def reports() -> Callable[[str], bytes]:
    folder = Path(__file__).parents[1] / "harness/reports"
    return lambda name: (folder / f"{name}.json").read_bytes()
