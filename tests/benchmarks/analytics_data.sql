-- A day of run-step records, as the daemon would insert them: what `tests.benchmarks.analytics` fills its tables with.
-- Every value is a hash of its run's number, so that each run of the benchmark has the same data but for the clock.
-- A run has 1 to 7 steps, one after the other; a step comes as in_progress, half the time twice, and then as its end.
INSERT INTO run_step_ingest
(
    kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, ingested_at, step_index, outcome, reason, occurred_at,
    thread_id, run_id, step_id, assistant_id, type, status, dialect, created_at, completed_at, failed_at, cancelled_at,
    expired_at, expires_at, ended_at, duration_ms, error_code, error_category, error_retryable, error_message,
    error_fingerprint, prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, tool_call_count,
    tool_types, tool_names, tool_call_ids, message_id, step_details, metadata, extra_fields, anomalies, version
)
WITH
    (salt, number) -> cityHash64(salt, number) % 1000000 / 1000000. AS chance,
    (prefix, number) -> concat(prefix, '_', left(base58Encode(sipHash128(prefix, number)), 22)) AS named,
    (
        SELECT mapFromArrays(groupArray(place), groupArray(next))
        FROM (SELECT kafka_partition AS place, max(kafka_offset) + 1 AS next FROM run_step_ledger GROUP BY place)
    ) AS heads,
    runs AS
    (
        SELECT
            number AS run,
            named('thread', intDiv(run, 3)) AS thread_id,
            named('run', run) AS run_id,
            named('asst', toUInt64(pow(60, chance(1, run)))) AS assistant_id,
            toUInt64({origin:UInt64} + run * {every:Float64}) AS began,
            1 + cityHash64(2, run) % 7 AS size,
            arrayMap(i -> run * 8 + i, range(size)) AS numbers,
            arrayMap(i -> i + 1 = size OR chance(3, run * 8 + i) < 0.1, range(size)) AS is_message,
            arrayMap(i -> chance(4, run * 8 + i) < 0.4, range(size)) AS waits,
            arrayMap((n, m, w) -> toUInt64(200 - log(1 - chance(5, n)) * multiIf(m, 3000, w, 12000, 4000)),
                numbers, is_message, waits) AS lasted,
            arrayMap(n -> toUInt64(chance(6, n) * 400), numbers) AS gaps,
            arrayPopBack(arrayPushFront(arrayCumSum(arrayMap((l, g) -> l + g, lasted, gaps)), 0)) AS delays
        FROM numbers({first:UInt64}, {count:UInt64})
    ),
    steps AS
    (
        SELECT
            *, step, message, wait, duration,
            toUInt64(began + delay) AS created,
            toUInt64(created + duration) AS ended,
            multiIf(
                step != numbers[-1], chance(7, step) < 0.01 ? 'failed' : 'completed',
                chance(7, step) < 0.03, 'failed',
                chance(7, step) < 0.035, 'expired',
                chance(7, step) < 0.04, 'cancelled',
                chance(7, step) < 0.0405, 'in_progress',
                'completed') AS final,
            message ? 0 : 1 + cityHash64(8, step) % 3 AS calls,
            arrayMap(i -> wait AND i = 0 ? 'function'
                : ['file_search', 'code_interpreter', 'mcp'][1 + cityHash64(9, step, i) % 3], range(calls)) AS kinds,
            toUInt64(pow(200, chance(10, step))) AS error
        FROM runs
        ARRAY JOIN numbers AS step, is_message AS message, waits AS wait, lasted AS duration, delays AS delay
    ),
    records AS
    (
        SELECT
            *, said, turn,
            said != 'in_progress' AS is_end,
            is_end AND said != 'completed' AND said != 'cancelled' AS is_bad,
            is_end ? ended : created AS at,
            toInt32(run % 12) AS place
        FROM steps
        ARRAY JOIN
            arrayFilter(word -> word != '', [
                'in_progress', chance(11, step) < 0.5 ? 'in_progress' : '', final = 'in_progress' ? '' : final
            ]) AS said,
            arrayEnumerate(arrayFilter(word -> word != '', [
                'in_progress', chance(11, step) < 0.5 ? 'in_progress' : '', final = 'in_progress' ? '' : final
            ])) AS turn
    )
SELECT
    'run-steps',
    place,
    row_number() OVER (PARTITION BY place ORDER BY at, step, turn) - 1 + heads[place] AS position,
    fromUnixTimestamp64Milli(toInt64(at + 20 + cityHash64(12, step, turn) % 300), 'UTC') AS written,
    fromUnixTimestamp64Milli(toInt64(at + 400 + cityHash64(13, step, turn) % 2000), 'UTC'),
    0,
    multiIf(cityHash64(14, step, turn) % 200 != 0, 'stored', turn = 1, 'ignored', 'dead_lettered') AS fate,
    multiIf(fate = 'stored', '', fate = 'ignored', 'delta', 'missing_run_id'),
    fromUnixTimestamp64Milli(toInt64(at), 'UTC'),
    thread_id,
    run_id,
    named('step', step),
    assistant_id,
    message ? 'message_creation' : 'tool_calls',
    said,
    'snake_case',
    fromUnixTimestamp64Milli(toInt64(created), 'UTC'),
    said = 'completed' ? fromUnixTimestamp64Milli(toInt64(ended), 'UTC') : NULL,
    said = 'failed' ? fromUnixTimestamp64Milli(toInt64(ended), 'UTC') : NULL,
    said = 'cancelled' ? fromUnixTimestamp64Milli(toInt64(ended), 'UTC') : NULL,
    said = 'expired' ? fromUnixTimestamp64Milli(toInt64(ended), 'UTC') : NULL,
    fromUnixTimestamp64Milli(toInt64(began + 600000), 'UTC'),
    is_end ? fromUnixTimestamp64Milli(toInt64(ended), 'UTC') : NULL,
    is_end ? duration : NULL,
    is_bad AND said = 'failed' ? ['server_error', 'rate_limit_exceeded', 'tool_user_error'][1 + error % 3] : '',
    multiIf(NOT is_end, '', said = 'failed', ['server', 'rate_limit', 'tool'][1 + error % 3],
        said = 'completed', '', said),
    is_bad AND said = 'failed' ? [true, true, NULL][1 + error % 3] : NULL,
    is_bad AND said = 'failed' ? concat('The upstream gave up after attempt ', toString(error), ', try again later') : '',
    is_bad AND said = 'failed' ? hex(sipHash64(error)) : '',
    is_end ? 300 + cityHash64(15, step) % 4000 : NULL AS prompt,
    is_end ? 20 + cityHash64(16, step) % 600 : NULL AS completion,
    prompt + completion,
    is_end ? prompt % 300 : NULL,
    0,
    calls,
    kinds,
    arrayMap((kind, i) -> kind = 'function' ? concat('function_', toString(toUInt64(pow(25, chance(17, step))))) : kind,
        kinds, arrayEnumerate(kinds)),
    arrayMap((kind, i) -> named('call', step * 4 + i), kinds, arrayEnumerate(kinds)),
    message ? named('msg', step) : '',
    concat('{"type":"', message ? 'message_creation' : 'tool_calls', '","of":"', toString(step), '"}'),
    map('tenant', toString(run % 40)),
    '',
    cityHash64(18, step) % 100 = 0 ? ['terminal_without_timestamp'] : [],
    is_end ? bitOr(bitShiftLeft(toUInt64(1), 62), at * 8 + turn) : at * 8 + turn
FROM records
SETTINGS max_partitions_per_insert_block = 100, max_insert_threads = 1, min_insert_block_size_rows = 500000
