"""Fixtures of the endpoints' tests: endpoints with settings of the test's choice, and the health they report."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry

from tests.support.endpoints_rig import SetHealth, registry_with_a_step, serving


@pytest.fixture
def health() -> SetHealth:
    return SetHealth()


@pytest.fixture
def registry() -> CollectorRegistry:
    return registry_with_a_step()


@pytest.fixture
def serve(registry: CollectorRegistry, health: SetHealth) -> Iterator[Callable[..., tuple[str, int]]]:
    """Run endpoints until the test ends; return their address."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(registry, health, **settings)).address
