"""The SQL of the board "Run and step detail": statements about one run or one step, found by id and not by time.

A reader with an id does not know its time; the indexes on the ids find it as quickly.
"""

from typing import Final

from deploy.grafana.queries.choices import value

_RUN_ID: Final = value("run_id")
_STEP_ID: Final = value("step_id")
# The step; without one all steps of the run.
_STEP: Final = f"""\
WHERE ({_RUN_ID} = '' OR run_id = {_RUN_ID})
  AND ({_STEP_ID} = '' OR step_id = {_STEP_ID})
  AND concat({_RUN_ID}, {_STEP_ID}) != ''"""
# The step's run where only a step is given. Ids alone are not unique, so the thread belongs to the run.
_RUN: Final = f"""\
WHERE (thread_id, run_id) IN (
    SELECT thread_id, run_id FROM run_steps_current
    {_STEP}
)"""

# A step in progress is drawn until the last time known of the run.
_INTERVALS: Final = """\
    toUnixTimestamp64Milli(created_at) AS from_ms,
    toUnixTimestamp64Milli(ended_at) AS end_ms,
    greatest(from_ms, ifNull(end_ms, from_ms)) AS until_ms"""

SUMMARY: Final = f"""\
SELECT
    multiIf(
        countIf(status NOT IN ('completed', 'failed', 'cancelled', 'expired')) > 0, 'in_progress',
        toString(argMax(status, (created_at, until_ms, step_id)))
    ) AS outcome,
    count() AS steps,
    countIf(status IN ('failed', 'expired')) AS `failed or expired`,
    max(until_ms) - min(from_ms) AS duration,
    intervalLengthSum(from_ms, until_ms) AS active,
    duration - active AS waiting,
    sum(tool_call_count) AS `tool calls`,
    sum(prompt_tokens) AS `tokens in`,
    sum(completion_tokens) AS `tokens out`
FROM (
    SELECT *,
{_INTERVALS}
    FROM run_steps_current
    {_RUN}
)
GROUP BY thread_id, run_id
ORDER BY min(created_at) DESC
LIMIT 1"""

WATERFALL: Final = f"""\
SELECT
    concat(
        toString(row_number() OVER (ORDER BY created_at, until_ms, step_id)),
        '. ', substringUTF8(if(empty(tool_names), type, arrayStringConcat(arrayDistinct(tool_names), ', ')), 1, 30),
        if(status = 'completed', '', concat(': ', status))
    ) AS step,
    from_ms - min(from_ms) OVER () AS `begins after`,
    if(status = 'completed', until_ms - from_ms, NULL) AS completed,
    if(status = 'failed', until_ms - from_ms, NULL) AS failed,
    if(status = 'expired', until_ms - from_ms, NULL) AS expired,
    if(status = 'cancelled', until_ms - from_ms, NULL) AS cancelled,
    if(
        status NOT IN ('completed', 'failed', 'expired', 'cancelled'), max(until_ms) OVER () - from_ms, NULL
    ) AS in_progress
FROM (
    SELECT *,
{_INTERVALS}
    FROM run_steps_current
    {_RUN}
)
ORDER BY created_at, until_ms, step_id
LIMIT 100"""

STEPS: Final = f"""\
SELECT
    row_number() OVER (ORDER BY created_at, ended_at, step_id) AS nr,
    step_id,
    type,
    status,
    duration_ms,
    arrayStringConcat(tool_names, ', ') AS tools,
    total_tokens,
    error_category,
    created_at,
    ended_at,
    run_id,
    thread_id,
    assistant_id
FROM run_steps_current
{_RUN}
ORDER BY created_at, ended_at, step_id
LIMIT 500"""

FIELDS: Final = f"""\
SELECT pair.1 AS field, pair.2 AS value, step_id
FROM run_steps_current
ARRAY JOIN [
    ('status', toString(status)),
    ('type', toString(type)),
    ('step_id', step_id),
    ('run_id', run_id),
    ('thread_id', thread_id),
    ('assistant_id', assistant_id),
    ('message_id', message_id),
    ('created_at', toString(created_at)),
    ('ended_at', ifNull(toString(ended_at), '')),
    ('expires_at', ifNull(toString(expires_at), '')),
    ('duration', ifNull(formatReadableTimeDelta(duration_ms / 1000, 'hours', 'milliseconds'), '')),
    ('prompt_tokens', ifNull(toString(prompt_tokens), '')),
    ('cached_tokens', ifNull(toString(cached_tokens), '')),
    ('completion_tokens', ifNull(toString(completion_tokens), '')),
    ('reasoning_tokens', ifNull(toString(reasoning_tokens), '')),
    ('total_tokens', ifNull(toString(total_tokens), '')),
    ('tools', arrayStringConcat(tool_names, ', ')),
    ('tool_call_ids', arrayStringConcat(tool_call_ids, ', ')),
    ('metadata', if(empty(metadata), '', toString(metadata))),
    ('anomalies', arrayStringConcat(anomalies, ', ')),
    ('extra_fields', extra_fields),
    ('dialect', toString(dialect)),
    ('Kafka', concat(kafka_topic, ', partition ', toString(kafka_partition), ', offset ', toString(kafka_offset))),
    ('produced at', toString(kafka_timestamp)),
    ('stored at', toString(ingested_at))
] AS pair
{_STEP}
  AND pair.2 != ''
ORDER BY created_at, step_id
LIMIT 500"""

ERROR: Final = f"""\
SELECT
    error_category,
    error_code,
    multiIf(error_retryable IS NULL, 'unknown', error_retryable, 'yes', 'no') AS retryable,
    error_message,
    error_fingerprint,
    step_id
FROM run_steps_current
{_STEP}
  AND error_category != ''
ORDER BY created_at, step_id
LIMIT 50"""

DETAILS: Final = f"""\
SELECT created_at AS timestamp, step_details AS body, step_id, type
FROM run_steps_current
{_STEP}
  AND step_details != ''
ORDER BY created_at, step_id
LIMIT 100"""

# Grouped by offset: until ClickHouse merges the parts, a record that was read twice has two rows.
LIFECYCLE: Final = f"""\
SELECT
    kafka_timestamp AS produced_at,
    any(status) AS status,
    any(occurred_at) AS occurred_at,
    max(ingested_at) AS stored_at,
    any(outcome) AS outcome,
    any(reason) AS reason,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    step_id,
    any(type) AS type
FROM run_step_ledger
WHERE step_id IN (SELECT step_id FROM run_steps_current {_STEP})
  AND (thread_id, run_id) IN (SELECT thread_id, run_id FROM run_steps_current {_STEP})
GROUP BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, step_index, step_id
ORDER BY produced_at, kafka_partition, kafka_offset
LIMIT 500"""
