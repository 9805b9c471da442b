-- Tool calls: one row a call of every step. A call has no times and no status of its own, these are its step's: calls
-- of one step ran together, and their durations must not be added up. A function (tool_type) is the client's own code:
-- its step lasts until the client has submitted the outputs.
-- DEFINER: a reader needs SELECT on this view only.
CREATE VIEW IF NOT EXISTS ${database}.tool_calls${on_cluster}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    thread_id,
    run_id,
    step_id,
    tool_call_ids[call_index] AS tool_call_id,
    call_index,
    tool_call_count AS calls_of_step,
    -- By position, and not joined as arrays, so that a query reads the arrays it shows only.
    tool_types[call_index] AS tool_type,
    tool_names[call_index] AS tool_name,
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
ARRAY JOIN arrayEnumerate(tool_types) AS call_index;
