"""Wrong daemons are caught; the right one passes the seeds that catch them."""

from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.__main__ import silence
from tests.simulation.mutants import ALL, NAMED, SLOW, planted
from tests.simulation.world import Failure, simulate

WITHIN = 10_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    silence()
    yield
    structlog.reset_defaults()


def _catching(mutant: str) -> int | None:
    with planted(mutant):
        for seed in range(WITHIN):
            try:
                simulate(seed)
            except Failure:
                return seed
    return None


@pytest.mark.parametrize(
    "mutant", [pytest.param(mutant, marks=pytest.mark.chaos) if mutant in SLOW else mutant for mutant in ALL]
)
def test_is_caught_and_the_right_daemon_is_not(mutant: str) -> None:
    seed = _catching(mutant)
    assert seed is not None, f"{mutant} lived through {WITHIN} seeds"
    simulate(seed)


def test_the_six_of_the_guarantee_are_among_them() -> None:
    assert list(NAMED) == [
        "commit_before_insert",
        "metrics_before_commit",
        "dead_letters_after_commit",
        "token_for_other_bytes",
        "late_commit_counted",
        "retained_rows_dropped",
    ]
