"""One LocalStack for the whole run; a deployment for each test that makes a world, and one for those that share it.

Deployments share nothing but the default bus: each has its own bucket, bus, topic, queue, pipeline and namespace.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.stack import Stack, running
from harness.world import AUTO, World


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running() as stack:
        yield stack


@pytest.fixture
def make_world(stack: Stack) -> Iterator[Callable[..., World]]:
    """Deploys Driftwarden anew, with a policy and template parameters."""
    worlds: list[World] = []

    def make(policy: str = AUTO, **parameters: str) -> World:
        worlds.append(World(stack, policy=policy, **parameters))
        return worlds[-1]

    yield make
    for world in worlds:
        world.silence()


@pytest.fixture(scope="module")
def shared(stack: Stack) -> Iterator[World]:
    """A deployment that retrains at once, for the tests of a module that each use their own monitors."""
    world = World(stack)
    yield world
    world.silence()


@pytest.fixture(scope="session")
def reports() -> Callable[[str], bytes]:
    folder = Path(__file__).parents[1] / "harness/reports"
    return lambda name: (folder / f"{name}.json").read_bytes()
