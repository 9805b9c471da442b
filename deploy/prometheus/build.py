"""Builds the rules and writes the file that Prometheus loads. See `python -m deploy.prometheus.build --help`."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NoReturn

from deploy.prometheus import daemons, ingest, steps
from deploy.prometheus.objectives import HISTORY, ingest_freshness, step_success
from deploy.prometheus.objectives import rules as objectives
from deploy.prometheus.rules import Group, Places, written
from pipeline.config import HttpSettings
from pipeline.metrics.catalogue import INGEST_DELAY

TARGET: Final = Path(__file__).parent / "runstep.rules.yml"
DEFAULTS: Final[dict[str, str]] = {
    "objective": "0.99",
    "freshness-objective": "0.99",
    "freshness-seconds": "60",
    "p95-seconds": "60",
    "job": "runstep",
    "runbooks": "deploy/runbooks",
    "grafana": "",
}
_USAGE: Final = 64
_HEAD: Final = """\
Recording rules and alerts for the metrics of the daemon, written by
    {command}
Another objective, limit, job or address is an option of it, not an edit here.

An alert names a symptom, never a cause; each has a page in deploy/runbooks. `page` wakes somebody, `ticket` can wait
for the morning. `team` is who can do something: `pipeline` runs the daemons, `agents` makes the steps.\
"""


class _Usage(Exception):
    """An option is wrong; the message names it and the fix."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Usage(message)


def main(arguments: Sequence[str]) -> int:
    """Write the rules, or with `--check` compare them; return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        text, notes = render(options)
    except _Usage as error:
        sys.stderr.write(f"{error}\nHelp: python -m deploy.prometheus.build --help\n")
        return _USAGE
    sys.stderr.writelines(f"{note}\n" for note in notes)
    target: Path = options.output
    if options.check:
        current = target.exists() and target.read_text(encoding="utf-8") == text
        if not current:
            elsewhere = "" if target == TARGET else f" --output {shlex.quote(str(target))}"
            sys.stderr.write(f"{target.name} is not what the code builds; run: {_command(options)}{elsewhere}\n")
        return 0 if current else 1
    target.write_text(text, encoding="utf-8")
    return 0


def render(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the rules as text, the same for the same options, and what was not done as asked."""
    success = step_success(_share("objective", options.objective))
    seconds = _bound(options.freshness_seconds)
    freshness = ingest_freshness(_share("freshness-objective", options.freshness_objective), seconds)
    if not options.job.strip():
        raise _Usage("--job: name the job that Prometheus scrapes the daemons as")
    p95_seconds = _below_last_bucket(options.p95_seconds)
    groups = (
        Group("runstep-objectives", objectives(success, freshness, seconds), "1m"),
        Group("runstep-daemons", daemons.rules()),
        Group("runstep-ingest", ingest.rules()),
        Group("runstep-steps", steps.rules(p95_seconds)),
    )
    places = Places(options.job, options.runbooks.rstrip("/"), options.grafana.rstrip("/"))
    notes = [note for objective in (success, freshness) for note in objective.lowered()]
    head = "\n".join([_HEAD.format(command=_command(options)), *(["", *notes] if notes else [])])
    return written(groups, places, head), notes


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "python -m deploy.prometheus.build",
        description="Write recording rules and alerts for Prometheus, for your objectives and addresses.",
        epilog="Exit codes: 0 done, 1 --check: the file is another one, 64 an option is wrong.",
        allow_abbrev=False,
    )
    told = {
        "objective": "share of the run steps that must complete, among those that complete, fail or expire",
        "freshness-objective": "share of the records that must be queryable in time",
        "freshness-seconds": f"what `in time` means; one of {_listed(_bounds())}",
        "p95-seconds": "what the 95th percentile of the step duration may be",
        "job": "the job that Prometheus scrapes the daemons as",
        "runbooks": "path or URL of the folder with a page for each alert",
        "grafana": "URL of the Grafana; without it the dashboards' paths alone",
    }
    for name, text in told.items():
        parser.add_argument(
            f"--{name}", default=DEFAULTS[name], metavar=name.rpartition("-")[2].upper(), help=f"{text} [%(default)s]"
        )
    parser.add_argument(
        "--output", type=Path, default=TARGET, metavar="FILE", help="another file than runstep.rules.yml"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is another one")
    return parser


def _command(options: argparse.Namespace) -> str:
    chosen = [(name, getattr(options, name.replace("-", "_"))) for name in DEFAULTS]
    given = [f"--{name} {shlex.quote(value)}" for name, value in chosen if value != DEFAULTS[name]]
    return " ".join(["python -m deploy.prometheus.build", *given])


def _number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise _Usage(f"--{name} {text}: that is not a number") from None
    if not value.is_finite():
        raise _Usage(f"--{name} {text}: that is not a number")
    return value


def _share(name: str, text: str) -> Decimal:
    value = _number(name, text)
    if not 0 < value < 1:
        raise _Usage(f"--{name} {text}: give a share between 0 and 1, such as 0.99 for 99 %")
    return value


def _bounds() -> list[float]:
    return [bound for bound in INGEST_DELAY.bounds if bound < HISTORY and bound.is_integer()]


def _bound(text: str) -> int:
    value = _number("freshness-seconds", text)
    if value not in _bounds():
        raise _Usage(f"--freshness-seconds {text}: the histogram has no such bucket; it has {_listed(_bounds())}")
    return int(value)


def _below_last_bucket(text: str) -> Decimal:
    value = _number("p95-seconds", text)
    last = HttpSettings().buckets[-1]
    if not 0 < value < last:
        raise _Usage(f"--p95-seconds {text}: give seconds between 0 and {last:g}, the last bucket of the histogram")
    return value


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
