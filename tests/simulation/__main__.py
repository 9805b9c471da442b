"""`make simulate-faults`: thousands of simulated worlds, each from one seed, judged by the oracle.

    python -m tests.simulation --seeds 10000             ten thousand seeds, from 0 on, on two cores
    python -m tests.simulation --seeds 1000 --first 5000 seeds 5000 to 5999
    python -m tests.simulation --seed 4711 --trace       one seed again, with all that happened
    python -m tests.simulation --mutant NAME             until a wrong daemon is caught

Prints what a failing seed has broken, the last that happened, and how to replay it. Exit status 1 if any failed.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import structlog

from tests.simulation.mutants import ALL, RARE, planted
from tests.simulation.world import Failure, World, simulate

CHUNK = 50
SHOWN = 3
MOST_FAILURES = 20


class Verdict(NamedTuple):
    """What became of one seed."""

    seed: int
    turns: int
    failure: str


def silence() -> None:
    """Let the daemons log nothing: they are thousands."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def judge(seed: int) -> Verdict:
    """Live through one seed."""
    try:
        return Verdict(seed, simulate(seed).scheduler.turns, "")
    except Failure as failure:
        return Verdict(seed, failure.world.scheduler.turns, report(failure))


def report(failure: Failure) -> str:
    """Return a failure for people: what, when, and how to see it again."""
    lines = [f"seed {failure.seed}: {failure}", "", *story_of(failure.world), ""]
    return "\n".join([*lines, f"replay: make simulate-faults SEED={failure.seed}"])


def story_of(world: World) -> Iterator[str]:
    """Yield what happened, a line each."""
    yield f"{world.plan}"
    for seconds, who, what, detail in world.scheduler.trace:
        yield f"{seconds:9.3f}  {who:10} {what:20} {detail}"


def replay(seed: int, *, trace: bool) -> int:
    """Live through one seed, with all that happened."""
    try:
        world = simulate(seed, None if trace else 60)
    except Failure as failure:
        print(report(failure))
        return 1
    if trace:
        print("\n".join(story_of(world)))
    print(f"seed {seed}: nothing lost, nothing doubled, in {world.scheduler.turns} turns")
    return 0


def hunt(mutant: str, seeds: Iterable[int]) -> int:
    """Look for the first seed that catches a wrong daemon."""
    with planted(mutant):
        for number, seed in enumerate(seeds, 1):
            verdict = judge(seed)
            if verdict.failure:
                print(f"{mutant} is caught after {number} seeds\n{verdict.failure}")
                return 0
    print(f"{mutant} was not caught")
    return 1


def sweep(seeds: range, jobs: int) -> int:
    """Live through many seeds and tell how it went."""
    began, turns, failures = time.monotonic(), 0, 0
    with multiprocessing.Pool(jobs, initializer=silence) as pool:
        for number, verdict in enumerate(pool.imap_unordered(judge, seeds, CHUNK), 1):
            turns += verdict.turns
            if verdict.failure:
                failures += 1
                print(verdict.failure if failures <= SHOWN else verdict.failure.partition("\n")[0], flush=True)
            if sys.stderr.isatty() and number % CHUNK == 0:
                print(f"\r{number} of {len(seeds)}", end="", file=sys.stderr, flush=True)
            if failures >= MOST_FAILURES:
                break
    seconds = time.monotonic() - began
    print(
        f"{number} seeds, {failures} failed, {turns} turns, {seconds:.0f} s, {number / seconds * 60:.0f} seeds a minute"
    )
    return int(failures > 0)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=2_000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, with its trace if it fails")
    parser.add_argument("--trace", action="store_true", help="show all that happened in that one")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--mutant", choices=sorted(ALL | RARE), help="a wrong daemon to catch")
    options = parser.parse_args()
    silence()
    seeds = range(options.first, options.first + options.seeds)
    if options.mutant:
        return hunt(options.mutant, seeds if options.seed is None else [options.seed])
    if options.seed is not None:
        return replay(options.seed, trace=options.trace)
    return sweep(seeds, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
