"""What is stored: which faults, which steps, which refusals.

Steps are read from `run_steps_current`, where each is one row, and refusals from the ledger, by their place in Kafka.
"""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import Question, rows

UID: Final = "runstep-steps"

_FAULTS: Final = """\
SELECT
    error_fingerprint AS fingerprint,
    error_category AS category,
    any(error_code) AS code,
    argMax(error_message, created_at) AS latest_message,
    count() AS steps,
    uniqExact(thread_id, run_id) AS runs,
    uniqExact(assistant_id) AS assistants,
    min(created_at) AS first_seen,
    max(created_at) AS last_seen
FROM run_steps_current
WHERE $__timeFilter(created_at)
  AND status IN ('failed', 'expired')
  AND $__conditionalAll(type IN (${type:singlequote}), $type)
  AND (${assistant:singlequote} = '' OR assistant_id = ${assistant:singlequote})
GROUP BY fingerprint, category
ORDER BY steps DESC, last_seen DESC
LIMIT 25"""

_SLOWEST: Final = """\
SELECT
    step_id,
    run_id,
    assistant_id,
    type,
    status,
    created_at,
    duration_ms,
    tool_names,
    error_category,
    total_tokens
FROM run_steps_current
WHERE $__timeFilter(created_at)
  AND duration_ms IS NOT NULL
  AND $__conditionalAll(type IN (${type:singlequote}), $type)
  AND (${assistant:singlequote} = '' OR assistant_id = ${assistant:singlequote})
ORDER BY duration_ms DESC
LIMIT 25"""

_DEAD_LETTERS: Final = """\
SELECT
    max(ingested_at) AS refused_at,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp,
    any(reason) AS why,
    any(run_id) AS run,
    any(step_id) AS step
FROM run_step_ledger
WHERE $__timeFilter(ingested_at)
  AND outcome = 'dead_lettered'
GROUP BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp
ORDER BY refused_at DESC
LIMIT 25"""

# No time filter: an exemplar leads here from any range, and the index on step_id finds the row.
_STEP: Final = """\
SELECT
    step_id,
    thread_id,
    run_id,
    assistant_id,
    type,
    status,
    created_at,
    ended_at,
    duration_ms,
    error_code,
    error_category,
    error_message,
    prompt_tokens,
    completion_tokens,
    tool_names,
    anomalies,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    step_details
FROM run_steps_current
WHERE step_id = ${step:singlequote}
LIMIT 10"""


def panels() -> Sequence[Any]:
    """Return the tables of faults, of slow steps, of the one step that was clicked, and of dead letters."""
    faults = rows(
        Question(
            "Most frequent faults",
            "Failed and expired steps of the time range, grouped by what their messages have in common once ids, "
            "numbers and addresses are masked. No fingerprint: the step came without an error.",
            "none",
        ),
        _FAULTS,
        {},
    )
    slowest = rows(
        Question("Slowest steps", "Ended steps of the time range. Click a step to open it in the next panel.", "none"),
        _SLOWEST,
        {"duration_ms": "ms", "total_tokens": "short"},
    ).override_by_name("step_id", [dashboard.DynamicConfigValue(id_val="links", value=[_to_step()])])
    dead_letters = rows(
        Question(
            "Latest dead letters",
            "Where in Kafka the refused records of the time range stand, and why they were refused. Their bytes are in "
            "the dead-letter topic, under the same partition and offset in the headers.",
            "none",
        ),
        _DEAD_LETTERS,
        {},
    )
    step = rows(
        Question(
            "Step",
            "The step named in the field Step above, in every thread that has one of that name.",
            "none",
        ),
        _STEP,
        {"duration_ms": "ms", "prompt_tokens": "short", "completion_tokens": "short"},
    ).height(6)
    return (faults, slowest, step, dead_letters)


def _to_step() -> dict[str, Any]:
    return {"title": "Open the step", "url": f"/d/{UID}?var-step=${{__value.raw}}&${{__url_time_range}}"}
