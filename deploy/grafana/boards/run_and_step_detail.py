"""The board "Run and step detail": one run over time, and one of its steps with fields, error, details and events.

For a reader with an id: from a row, an exemplar, a log or a customer. Its SQL is in `queries/detail_sql`.
"""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.clickhouse_panels import figures, rows, texts, waterfall
from deploy.grafana.navigation import EXPLORER, STEP, cell, link
from deploy.grafana.queries import detail_sql as queries
from deploy.grafana.style import COLOURS, Caption, Column, fixed, words

_OUTCOMES: Final = {
    "completed": ("completed", "green"),
    "failed": ("failed", "red"),
    "expired": ("expired", "orange"),
    "cancelled": ("cancelled", "#8e8e8e"),
    "in_progress": ("in progress", "blue"),
}
_TIME: Final = Column(unit="time:YYYY-MM-DD HH:mm:ss.SSS", width=190)


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("The run", (_summary(), _waterfall(), _steps())),
        ("The step (without a step id: all steps of the run)", (_error(), _fields(), _details(), _lifecycle())),
    )


def _summary() -> Any:
    return figures(
        Caption(
            "Run",
            "The run as its steps show it. Outcome: in progress while a step has not ended, else the status of the "
            "step created last. Duration: from the first creation to the last end. Active: time with at least one "
            "step in progress. Waiting: the rest, such as a queue or the client between two steps.",
            "short",
        ),
        queries.SUMMARY,
        {"duration": "ms", "active": "ms", "waiting": "ms"},
    ).mappings(words(_OUTCOMES))


def _waterfall() -> Any:
    panel = waterfall(
        Caption(
            "Steps over time",
            "A bar for each of the first 100 steps, from creation to end, measured from the start of the run. Steps "
            "with times in whole seconds may have no length. A step in progress is drawn until the last time known "
            "of the run.",
            "ms",
        ),
        queries.WATERFALL,
        "step",
        "begins after",
    )
    for status in ("completed", "failed", "expired", "cancelled", "in_progress"):
        panel.override_by_name(status, [fixed(COLOURS[status])])
    return panel


def _steps() -> Any:
    return (
        rows(
            Caption("Steps of the run", "The steps in the order of creation. Click a step to see it below.", "none"),
            queries.STEPS,
            {
                "nr": Column(width=60),
                "step_id": Column(
                    width=265,
                    links=[link("Show this step", STEP, STEP, run_id=cell("run_id"), step_id=cell("step_id"))],
                ),
                "run_id": Column(
                    width=265, links=[link("Show all of this run", STEP, STEP, run_id=cell("run_id"), step_id="")]
                ),
                "assistant_id": Column(
                    width=265, links=[link("Find its other steps", STEP, EXPLORER, assistant=cell("assistant_id"))]
                ),
                "thread_id": Column(
                    width=265, links=[link("Find the thread's other steps", STEP, EXPLORER, text=cell("thread_id"))]
                ),
                "duration_ms": Column(unit="ms", width=120),
                "total_tokens": Column(unit="short", width=120),
                "status": Column(width=100),
                "type": Column(width=140),
                "created_at": _TIME,
                "ended_at": _TIME,
            },
        )
        .span(12)
        .height(12)
    )


def _error() -> Any:
    return rows(
        Caption(
            "Error",
            "The error of the step, with credentials removed. retryable: whether a retry can help. Click the "
            "fingerprint to find every step with this error.",
            "none",
        ),
        queries.ERROR,
        {
            "error_category": Column(width=130),
            "error_code": Column(width=170),
            "retryable": Column(width=90),
            "error_message": Column(wrapped=True),
            "error_fingerprint": Column(
                width=170,
                links=[link("Find this error", STEP, EXPLORER, fingerprint=cell("error_fingerprint"))],
            ),
            "step_id": Column(width=265),
        },
    ).height(5)


def _fields() -> Any:
    return (
        rows(
            Caption("Fields", "The stored values of the step; fields without a value are left out.", "none"),
            queries.FIELDS,
            {"field": Column(width=150), "value": Column(wrapped=True), "step_id": Column(width=265)},
        )
        .span(12)
        .height(12)
    )


def _details() -> Any:
    return texts(
        Caption(
            "Step details",
            "Messages and tool calls with arguments and outputs, from the step's latest event. The setting "
            "normalize.content decides what is stored of them.",
            "none",
        ),
        queries.DETAILS,
    )


def _lifecycle() -> Any:
    return rows(
        Caption(
            "Events as received",
            "Every event of the step from the ledger, in the order of production: its status, its place in Kafka, "
            "and its outcome. An event that arrives late or twice changes nothing above.",
            "none",
        ),
        queries.LIFECYCLE,
        {
            "produced_at": _TIME,
            "occurred_at": _TIME,
            "stored_at": _TIME,
            "status": Column(width=110),
            "step_id": Column(width=265),
            "outcome": Column(width=110),
            "reason": Column(width=120),
            "kafka_topic": Column(width=150),
            "type": Column(width=150),
            "kafka_partition": Column(width=140),
            "kafka_offset": Column(width=120),
        },
    )
