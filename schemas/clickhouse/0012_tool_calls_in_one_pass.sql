-- The tool calls of 0009, in one pass over the lists of a step. There each call took its entry out of the whole lists, and
-- servers before 26.7 copied these for each call: 39 GB for a step of 65,535 calls.
-- Of the length of tool_types, so that a row whose lists are not parallel fails no query.
DROP VIEW IF EXISTS ${database}.tool_calls${on_cluster};

CREATE VIEW IF NOT EXISTS ${database}.tool_calls${on_cluster}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    thread_id,
    run_id,
    step_id,
    tool_call_id,
    call_index,
    tool_call_count AS calls_of_step,
    CAST(tool_type, 'String') AS tool_type,
    tool_name,
    assistant_id,
    status,
    created_at,
    ended_at,
    duration_ms,
    error_code,
    error_category,
    error_message,
    error_fingerprint
FROM ${database}.run_steps_current
ARRAY JOIN
    arrayEnumerate(tool_types) AS call_index,
    tool_types AS tool_type,
    arrayResize(tool_names, length(tool_types)) AS tool_name,
    arrayResize(tool_call_ids, length(tool_types)) AS tool_call_id;
