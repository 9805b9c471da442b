"""One run and one of its steps: what happened when, what went wrong, what exactly was said, which events came.

For whoever holds an id: from a row, an exemplar, a log or a customer. `step_queries` holds what it asks.
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
    "in_progress": ("under way", "blue"),
}
_TIME: Final = Column(unit="time:YYYY-MM-DD HH:mm:ss.SSS", width=190)


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("The run", (_summary(), _waterfall(), _steps())),
        ("The step, or without one all of the run", (_error(), _fields(), _details(), _lifecycle())),
    )


def _summary() -> Any:
    return figures(
        Caption(
            "Run",
            "The run as its steps tell it. Outcome: under way while a step has not ended, else the state of the step "
            "that was created last. Duration: from the first step's creation to the last end. Active: a step was at "
            "work; steps at the same time count once. Waiting: the rest, the queue or the caller between two steps.",
            "short",
        ),
        queries.SUMMARY,
        {"duration": "ms", "active": "ms", "waiting": "ms"},
    ).mappings(words(_OUTCOMES))


def _waterfall() -> Any:
    panel = waterfall(
        Caption(
            "Steps over time",
            "A bar a step, from its creation to its end, counted from the run's beginning; the first 100. Steps whose "
            "times are whole seconds may have no length. A step under way is drawn until the run's last sign of "
            "life.",
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
            Caption("Steps of the run", "In the order of their creation. Click a step to see it below.", "none"),
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
            "What the step says went wrong, with credentials taken out. retryable: whether trying again can help. "
            "Click the fingerprint to find every step with this error.",
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
            Caption("Fields", "What is stored of the step; fields without a value are left out.", "none"),
            queries.FIELDS,
            {"field": Column(width=150), "value": Column(wrapped=True), "step_id": Column(width=265)},
        )
        .span(12)
        .height(12)
    )


def _details() -> Any:
    return texts(
        Caption(
            "step_details",
            "The step's details as they came, as far as the setting `content` lets them be stored: messages, tool "
            "calls with arguments and outputs. The latest event's.",
            "none",
        ),
        queries.DETAILS,
    )


def _lifecycle() -> Any:
    return rows(
        Caption(
            "Events as they came",
            "Every event of the step from the ledger, in the order in which it was produced: what it said, where it "
            "stands in Kafka, and what became of it. An event that comes late, or twice, changes nothing above.",
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
