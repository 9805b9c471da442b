-- What fails with which tool: failed and expired steps by tool and error category.
-- Group: tools
-- Set limit UInt32 = 50: how many lines
-- A step that called several tools counts for each, since its error does not name the tool. The answer of a tool is no
-- error of the step: a completed step may hold an exception as its output.
SELECT
    tool,
    error_category AS category,
    count() AS steps,
    uniqExact(assistant_id) AS assistants,
    max(created_at) AS last_seen,
    substring(argMax(error_message, (created_at, step_id)), 1, 120) AS last_message
FROM run_steps_current
ARRAY JOIN arrayDistinct(tool_names) AS tool
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired')
GROUP BY tool, category
ORDER BY steps DESC, tool, category
LIMIT {limit:UInt32}
