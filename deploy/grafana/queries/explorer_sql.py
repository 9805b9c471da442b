"""The SQL of the board "Run step explorer": statements over `run_steps_current`, where a step is one row.

Each is bounded by the steps' creation, which the table's key begins with, and by the variables of the board.
"""

from typing import Final

from deploy.grafana.queries.choices import value, values

# The plugin drops a condition whose variable is on All. It needs the bare variable at the end.
_SELECTED: Final = f"""\
WHERE $__timeFilter(created_at)
  AND $__conditionalAll(assistant_id IN ({values("assistant")}), $assistant)
  AND $__conditionalAll(status IN ({values("status")}), $status)
  AND $__conditionalAll(type IN ({values("type")}), $type)
  AND $__conditionalAll(hasAny(tool_names, {values("tool")}), $tool)
  AND $__conditionalAll(error_category IN ({values("error_category")}), $error_category)
  AND $__conditionalAll(error_fingerprint = {value("fingerprint")}, $fingerprint)
  AND $__conditionalAll(multiSearchAnyCaseInsensitiveUTF8(\
concat(step_id, ' ', run_id, ' ', thread_id, ' ', error_message, ' ', step_details), [{value("text")}]), $text)"""

# Ad hoc filters on any other column. They act on the view, so on current rows only.
_FILTERED: Final = "SETTINGS $__adHocFilters('run_steps_current')"

FIGURES: Final = f"""\
SELECT
    count() AS steps,
    uniq(thread_id, run_id) AS runs,
    uniq(assistant_id) AS assistants,
    countIf(status IN ('failed', 'expired')) AS `failed or expired`,
    countIf(status = 'completed') / nullIf(countIf(status IN ('completed', 'failed', 'expired')), 0) AS `success ratio`,
    quantileExactOrNull(0.5)(duration_ms) AS `p50 duration`,
    quantileExactOrNull(0.95)(duration_ms) AS `p95 duration`,
    sum(tool_call_count) AS `tool calls`,
    sum(total_tokens) AS tokens
FROM run_steps_current
{_SELECTED}
LIMIT 1
{_FILTERED}"""

STEPS: Final = f"""\
SELECT
    created_at,
    step_id,
    run_id,
    status,
    type,
    arrayStringConcat(tool_names, ', ') AS tools,
    duration_ms,
    error_category,
    error_message,
    total_tokens,
    assistant_id
FROM run_steps_current
{_SELECTED}
ORDER BY created_at DESC
LIMIT 200
{_FILTERED}"""

SLOWEST: Final = f"""\
SELECT
    step_id,
    run_id,
    duration_ms,
    type,
    status,
    arrayStringConcat(tool_names, ', ') AS tools,
    assistant_id,
    created_at
FROM run_steps_current
{_SELECTED}
  AND duration_ms IS NOT NULL
ORDER BY duration_ms DESC
LIMIT 50
{_FILTERED}"""

ASSISTANTS: Final = f"""\
SELECT
    assistant_id,
    countIf(status IN ('failed', 'expired')) AS failures,
    failures / nullIf(countIf(status IN ('completed', 'failed', 'expired')), 0) AS failure_ratio,
    count() AS steps,
    topKIf(1)(error_category, status IN ('failed', 'expired'))[1] AS main_category,
    maxIf(created_at, status IN ('failed', 'expired')) AS last_failure
FROM run_steps_current
{_SELECTED}
GROUP BY assistant_id
HAVING failures > 0
ORDER BY failures DESC, failure_ratio DESC
LIMIT 50
{_FILTERED}"""

ERRORS: Final = f"""\
SELECT
    error_fingerprint AS fingerprint,
    error_category AS category,
    argMax(error_code, created_at) AS code,
    argMax(error_message, created_at) AS latest_message,
    count() AS steps,
    uniq(thread_id, run_id) AS runs,
    uniq(assistant_id) AS assistants,
    min(created_at) AS first_seen,
    max(created_at) AS last_seen,
    argMax(step_id, created_at) AS latest_step
FROM run_steps_current
{_SELECTED}
  AND status IN ('failed', 'expired')
GROUP BY fingerprint, category
ORDER BY steps DESC, last_seen DESC
LIMIT 50
{_FILTERED}"""

# A step counts once for each tool, however often it called it.
TOOLS: Final = f"""\
SELECT
    tool,
    tool_type,
    count() AS calls,
    countIf(nth = 1) AS steps,
    countIf(nth = 1 AND status IN ('failed', 'expired')) / steps AS failure_ratio,
    quantileExactOrNullIf(0.5)(duration_ms, nth = 1) AS p50,
    quantileExactOrNullIf(0.95)(duration_ms, nth = 1) AS p95
FROM run_steps_current
ARRAY JOIN tool_names AS tool, tool_types AS tool_type, arrayEnumerateUniq(tool_names, tool_types) AS nth
{_SELECTED}
GROUP BY tool, tool_type
ORDER BY calls DESC
LIMIT 50
{_FILTERED}"""

# The seven assistants with most tokens, and the rest as one: more colours cannot be distinguished.
TOKENS: Final = f"""\
WITH (
    SELECT groupArray(assistant_id) FROM (
        SELECT assistant_id FROM run_steps_current
        {_SELECTED}
        GROUP BY assistant_id ORDER BY sum(total_tokens) DESC LIMIT 7
    )
) AS largest
SELECT
    toStartOfHour(created_at) AS time,
    if(has(largest, assistant_id), assistant_id, 'all others') AS assistant,
    toFloat64(sum(total_tokens)) AS Value
FROM run_steps_current
{_SELECTED}
GROUP BY time, assistant
ORDER BY time
LIMIT 20000
{_FILTERED}"""

LATENCY: Final = f"""\
SELECT
    toStartOfHour(created_at) AS time,
    quantileExact(0.5)(duration_ms) AS p50,
    quantileExact(0.95)(duration_ms) AS p95,
    quantileExact(0.99)(duration_ms) AS p99
FROM run_steps_current
{_SELECTED}
  AND duration_ms IS NOT NULL
GROUP BY time
ORDER BY time
LIMIT 10000
{_FILTERED}"""

STATUSES: Final = f"""\
SELECT toStartOfHour(created_at) AS time, status, toFloat64(count()) AS Value
FROM run_steps_current
{_SELECTED}
GROUP BY time, status
ORDER BY time
LIMIT 20000
{_FILTERED}"""
