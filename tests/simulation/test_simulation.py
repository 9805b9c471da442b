"""Simulated worlds: nothing lost, nothing doubled in any of them, and each can be lived through again."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.__main__ import judge, report, silence
from tests.simulation.mutants import planted
from tests.simulation.world import Failure, simulate

SEEDS = range(1_000)
CHUNK = 100
TRACES = """
import hashlib
from tests.simulation.__main__ import silence
from tests.simulation.world import simulate
silence()
print(hashlib.sha256(repr([list(simulate(seed, None).scheduler.trace) for seed in range(20)]).encode()).hexdigest())
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    silence()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_nothing_is_lost_and_nothing_is_doubled(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate(seed)
        except Failure as failure:
            pytest.fail(report(failure), pytrace=False)


def test_a_seed_decides_everything_whatever_the_hashes_are() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", TRACES],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_failure_says_what_is_broken_and_how_to_see_it_again() -> None:
    with planted("commit_before_insert"):
        verdict = next(verdict for verdict in map(judge, SEEDS) if verdict.failure)
    assert verdict.failure.startswith(f"seed {verdict.seed}: I5 commit of")
    assert verdict.failure.endswith(f"make simulate-faults SEED={verdict.seed}")
