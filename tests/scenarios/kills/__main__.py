"""`make kills`: kill daemon, ClickHouse and broker again and again under load, and account for every record.

    python -m tests.scenarios.kills                       200 kills, about a quarter of an hour
    python -m tests.scenarios.kills --kills 20 --seed 7   another plan
    python -m tests.scenarios.kills --rate 2000           under more load, in events a second

It starts servers of its own and two daemons in one group. The truth is what Kafka holds in the end. Prints each kill to
standard error and prints the tables; exit status 1 if anything was lost, doubled, or counted more often than it was.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable

from rich.console import Console

from tests.scenarios.kills.judge import Verdict, judge, keep_logs
from tests.scenarios.kills.plan import DAEMON, Strike, planned
from tests.scenarios.kills.report import show
from tests.scenarios.kills.rig import standing

SEED = 4
RATE = 500.0


def kill_run(kills: int, seed: int, rate: float, report: Callable[[str], None]) -> Verdict:
    """Do it all, and return what became of it.

    Args:
        kills: how many.
        seed: of the plan and of the traffic; the moments are the machine's.
        rate: events a second.
        report: takes a line for each kill.
    """
    strikes = planned(kills, seed)
    with standing(seed, rate) as rig:
        began = time.monotonic()
        for strike in strikes:
            rig.strike(strike)
            line = described(strike, inserting=strike.number in rig.inserting)
            report(f"{time.monotonic() - began:7.1f} s  {line}; not recovered from: {rig.recoveries.open}")
        rig.finish()
        report(f"{time.monotonic() - began:7.1f} s  all is read; comparing with {len(rig.load.produced):,} events")
        verdict = judge(rig, strikes)
        if verdict.faults:
            verdict.faults.append(f"the daemons' logs are in {keep_logs(rig)}")
        return verdict


def described(strike: Strike, *, inserting: bool) -> str:
    """Return a strike in words."""
    name = f"{strike.victim} {strike.member}" if strike.victim == DAEMON else strike.victim
    moment = "after recovery" if strike.calm else "at any moment"
    return f"kill {strike.number:3}: {name:10} {moment}{', while it inserts' if inserting else ''}"


def main() -> int:
    """Take the arguments, run, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios.kills", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--kills", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the plan and of the traffic (%(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second (%(default)s)")
    options = parser.parse_args()
    # Of this process' own clients: that a broker dies is the point.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    verdict = kill_run(options.kills, options.seed, options.rate, report)
    show(verdict, Console(width=None if sys.stdout.isatty() else 120, highlight=False))
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
