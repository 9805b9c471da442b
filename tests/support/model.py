"""The truth: what a correct pipeline must hold and count, computed from what was produced.

Independent of the pipeline: it reads no bytes and shares no rule's code with it, only the words of the accounting. Feed
a `Model` every produced event with the place Kafka gave it, then compare its `ledger`, `current` and `samples` with
what `read_ledger`, `read_current` and `read_samples` find on the real thing; `difference` says in words what is wrong.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from pipeline.tools.simulation import SimulatedEvent, Step
from schemas.vocabulary import STEP_TYPES, TOOL_TYPES

TERMINAL: Final = ("completed", "failed", "cancelled", "expired")
BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)

LedgerKey: TypeAlias = tuple[int, int, int]
"""kafka_partition, kafka_offset, step_index."""
StepKey: TypeAlias = tuple[str, str, str]
"""thread_id, run_id, step_id."""

MODELLED_METRICS: Final = (
    "runstep_records_total",
    "runstep_steps_total",
    "runstep_step_failures_total",
    "runstep_backfilled_steps_total",
    "runstep_tokens_total",
    "runstep_tool_calls_total",
    "runstep_anomalies_total",
    "runstep_step_duration_seconds_bucket",
    "runstep_step_duration_seconds_count",
    "runstep_step_duration_seconds_sum",
)


class _Sighting(NamedTuple):
    """A step's state, and where in Kafka it stood."""

    step: Step
    partition: int
    offset: int

    def rank(self) -> tuple[bool, int, int]:
        """Return what decides which of two states of a step is the current one; the greater wins.

        Where a time lies ahead of its record, the record's decides, which is not known here: not for such steps.
        """
        ended = self.step.status in TERMINAL
        occurred_at = self.step.ended_at if ended and self.step.ended_at is not None else self.step.created_at
        return ended, occurred_at, self.offset


class Model:
    """What must be the case once everything produced has been read.

    Args:
        read_at: when the pipeline read it, in milliseconds since the epoch; decides what counts as backfill only.
            None where nothing is that old.
        backfill_after: milliseconds.
    """

    def __init__(self, read_at: int | None = None, backfill_after: int = 86_400_000) -> None:
        self.ledger: dict[LedgerKey, tuple[str, ...]] = {}
        """Place to (outcome, reason), and for stored steps also thread, run and step id, type and status."""
        self._records: dict[tuple[int, int], tuple[str, str]] = {}
        self._sightings: list[_Sighting] = []
        self._oldest_news = None if read_at is None else read_at - backfill_after

    def add(self, event: SimulatedEvent, partition: int, offset: int) -> None:
        """Take note of an event that was produced, and of the place that Kafka gave it."""
        outcome = str(event.outcome), str(event.reason)
        self._records[partition, offset] = outcome
        if not event.steps:
            self.ledger[partition, offset, 0] = outcome
        for index, step in enumerate(event.steps):
            ids = step.thread_id, step.run_id, step.step_id
            self.ledger[partition, offset, index] = (*outcome, *ids, step.type, step.status)
            self._sightings.append(_Sighting(step, partition, offset))

    @property
    def current(self) -> dict[StepKey, dict[str, Any]]:
        """Step key to the columns of `run_steps_current`; times are milliseconds since the epoch."""
        best: dict[StepKey, _Sighting] = {}
        for sighting in self._sightings:
            key = _key(sighting.step)
            if key not in best or sighting.rank() > best[key].rank():
                best[key] = sighting
        return {key: _columns(sighting) for key, sighting in best.items()}

    @property
    def families(self) -> dict[StepKey, str]:
        """Step key to the family of its error, for those that have one."""
        return {_key(seen.step): seen.step.error_family for seen in self._sightings if seen.step.error_family}

    @property
    def samples(self) -> dict[str, float]:
        """What `/metrics` must show, added up over all processes: `name{label=value,...}` to value, no zeros."""
        tallied: Counter[str] = Counter()
        for outcome, reason in self._records.values():
            tallied[_name("runstep_records_total", outcome=outcome, reason=reason)] += 1
        for sighting in self._sightings:
            for anomaly in sighting.step.anomalies:
                tallied[_name("runstep_anomalies_total", anomaly=anomaly)] += 1
        durations: dict[tuple[str, str], list[float]] = defaultdict(list)
        for step in self._counted_once():
            self._count(step, tallied, durations)
        samples: dict[str, float] = {**tallied, **_histograms(durations)}
        return {name: round(value, 3) for name, value in samples.items() if value}

    def _counted_once(self) -> Iterable[Step]:
        """Yield each step's first terminal state; a partition is read in the order of its offsets."""
        seen = set()
        for sighting in sorted(self._sightings, key=lambda sighting: sighting.offset):
            key = sighting.partition, _key(sighting.step)
            if sighting.step.status in TERMINAL and key not in seen and not _lies_ahead(sighting.step):
                seen.add(key)
                yield sighting.step

    def _count(self, step: Step, tallied: Counter[str], durations: dict[tuple[str, str], list[float]]) -> None:
        kind = step.type if step.type in STEP_TYPES else "other"
        ended = step.created_at if step.ended_at is None else step.ended_at
        if self._oldest_news is not None and ended < self._oldest_news:
            tallied[_name("runstep_backfilled_steps_total", type=kind, status=step.status)] += 1
            return
        tallied[_name("runstep_steps_total", type=kind, status=step.status)] += 1
        if step.status in ("failed", "expired"):
            tallied[_name("runstep_step_failures_total", type=kind, error_category=step.error_category)] += 1
        for direction, tokens in (("input", step.prompt_tokens), ("output", step.completion_tokens)):
            tallied[_name("runstep_tokens_total", token_type=direction)] += tokens or 0
        for tool in step.tool_types:
            tallied[_name("runstep_tool_calls_total", tool_type=tool if tool in TOOL_TYPES else "other")] += 1
        duration = _duration(step)
        if duration is not None:
            durations[kind, step.status].append(duration / 1000)


def _key(step: Step) -> StepKey:
    return step.thread_id, step.run_id, step.step_id


def _lies_ahead(step: Step) -> bool:
    """Return whether a time of the step lies so far after its record's own that its end is believed nowhere."""
    return "future_timestamp" in step.anomalies


def _duration(step: Step) -> int | None:
    if step.ended_at is None or step.ended_at < step.created_at or _lies_ahead(step):
        return None
    return step.ended_at - step.created_at


def _columns(sighting: _Sighting) -> dict[str, Any]:
    step = sighting.step
    ends = {f"{status}_at": step.ended_at if step.status == status else None for status in TERMINAL}
    return {
        "assistant_id": step.assistant_id,
        "type": step.type,
        "status": step.status,
        "dialect": step.dialect,
        "created_at": step.created_at,
        **ends,
        "expires_at": step.expires_at,
        "ended_at": None if _lies_ahead(step) else step.ended_at,
        "duration_ms": _duration(step),
        "error_code": step.error_code,
        "error_category": step.error_category,
        "error_retryable": step.error_retryable,
        "has_message": bool(step.error_message),
        "prompt_tokens": step.prompt_tokens,
        "completion_tokens": step.completion_tokens,
        "total_tokens": step.total_tokens,
        "cached_tokens": step.cached_tokens,
        "reasoning_tokens": step.reasoning_tokens,
        "tool_call_count": len(step.tool_types),
        "tool_types": list(step.tool_types),
        "tool_names": list(step.tool_names),
        "tool_call_ids": list(step.tool_call_ids),
        "message_id": step.message_id,
        "metadata": dict(step.metadata),
        "anomalies": sorted(step.anomalies),
        "kafka_partition": sighting.partition,
        "kafka_offset": sighting.offset,
    }


def _histograms(durations: Mapping[tuple[str, str], list[float]]) -> dict[str, float]:
    samples: dict[str, float] = {}
    metric = "runstep_step_duration_seconds"
    for (kind, status), values in durations.items():
        ordered = sorted(values)
        labels = {"type": kind, "status": status}
        for bound in (*BUCKETS, float("inf")):
            within = sum(1 for value in ordered[bisect_left(ordered, bound) :] if value == bound)
            samples[_name(f"{metric}_bucket", le=str(bound), **labels)] = bisect_left(ordered, bound) + within
        samples[_name(f"{metric}_count", **labels)] = len(values)
        samples[_name(f"{metric}_sum", **labels)] = sum(values)
    return samples


def _name(metric: str, **labels: str) -> str:
    return f"{metric}{{{','.join(f'{name}={value}' for name, value in sorted(labels.items()))}}}"


_TIMES: Final = ("created_at", "completed_at", "failed_at", "cancelled_at", "expired_at", "expires_at", "ended_at")
_EXPRESSIONS: Final = {
    **{name: f"toUnixTimestamp64Milli({name})" for name in _TIMES},
    "has_message": "error_message != ''",
    "anomalies": "arraySort(anomalies)",
}


def read_ledger(client: Any, database: str = "runsteps") -> dict[LedgerKey, tuple[str, ...]]:
    """Return the ledger in the form of `Model.ledger`, from a clickhouse-connect client."""
    names = "kafka_partition, kafka_offset, step_index, outcome, reason, thread_id, run_id, step_id, type, status"
    rows = client.query(f"SELECT {names} FROM {database}.run_step_ledger FINAL").result_rows  # noqa: S608 - a test's own
    return {tuple(row[:3]): tuple(row[3:] if row[3] == "stored" else row[3:5]) for row in rows}


def read_current(client: Any, database: str = "runsteps") -> dict[StepKey, dict[str, Any]]:
    """Return the current steps in the form of `Model.current`, from a clickhouse-connect client."""
    sample = Step("", "", "", "", "", "", "", 0)
    names = list(_columns(_Sighting(sample, 0, 0)))
    selected = ", ".join(f"{_EXPRESSIONS.get(name, name)} AS {name}_" for name in names)
    sql = f"SELECT thread_id, run_id, step_id, {selected} FROM {database}.run_steps_current"  # noqa: S608 - a test's own
    rows = client.query(sql).result_rows
    found = {tuple(row[:3]): dict(zip(names, row[3:], strict=True)) for row in rows}
    assert len(found) == len(rows), "run_steps_current shows a step twice"
    for columns in found.values():
        columns["has_message"] = bool(columns["has_message"])
    return found


def read_fingerprints(client: Any, database: str = "runsteps") -> dict[StepKey, str]:
    """Return step key to error fingerprint for the steps that have one."""
    table = f"{database}.run_steps_current WHERE error_fingerprint != ''"
    rows = client.query(f"SELECT thread_id, run_id, step_id, error_fingerprint FROM {table}").result_rows  # noqa: S608 - a test's own
    return {tuple(row[:3]): row[3] for row in rows}


def read_samples(text: str) -> dict[str, float]:
    """Return the modelled part of a `/metrics` answer (text format) in the form of `Model.samples`."""
    samples: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in MODELLED_METRICS:
                labels = {name: value for name, value in sample.labels.items() if name != "worker"}
                if "le" in labels:
                    labels["le"] = str(float(labels["le"]))
                samples[_name(sample.name, **labels)] += sample.value
    return {name: round(value, 3) for name, value in samples.items() if value}


def grouping_faults(families: Mapping[StepKey, str], fingerprints: Mapping[StepKey, str]) -> list[str]:
    """Return what is wrong with the fingerprints: a family with several, several families with one."""
    by_family: dict[str, set[str]] = defaultdict(set)
    by_fingerprint: dict[str, set[str]] = defaultdict(set)
    for key, family in families.items():
        found = fingerprints.get(key, "")
        by_family[family].add(found)
        by_fingerprint[found].add(family)
    split = [f"{family} has {len(found)} fingerprints" for family, found in by_family.items() if len(found) > 1]
    merged = [f"{found!r} is shared by {sorted(names)}" for found, names in by_fingerprint.items() if len(names) > 1]
    return split + merged


def difference(expected: Mapping[Any, Any], actual: Mapping[Any, Any], limit: int = 8) -> str:
    """Return what differs, in words and at most `limit` lines of each kind; '' where nothing does."""
    missing = [f"missing {key}: expected {_short(expected[key])}" for key in expected.keys() - actual.keys()]
    surplus = [f"surplus {key}: {_short(actual[key])}" for key in actual.keys() - expected.keys()]
    wrong = [
        f"wrong {key}: {_contrast(expected[key], actual[key])}"
        for key in expected.keys() & actual.keys()
        if expected[key] != actual[key]
    ]
    lines = []
    for kind in (missing, surplus, wrong):
        lines += sorted(kind)[:limit]
        if len(kind) > limit:
            lines.append(f"... and {len(kind) - limit} more like these")
    return "\n".join(lines)


def _contrast(expected: Any, actual: Any) -> str:
    if isinstance(expected, dict) and isinstance(actual, dict):
        names = [name for name in {**expected, **actual} if expected.get(name) != actual.get(name)]
        return "; ".join(f"{name} expected {expected.get(name)!r}, is {actual.get(name)!r}" for name in names)
    return f"expected {expected!r}, is {actual!r}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 160 else text[:157] + "..."
