"""What every report says about the data of `queries_rig`: arguments, columns, and the rows worked out by hand."""

from typing import Any

Answer = tuple[list[str], str, list[tuple[Any, ...]]]
TRUTH: dict[str, Answer] = {
    "steps_by_status": (
        [],
        "type status steps p50_s p95_s max_s",
        [
            ("message_creation", "completed", 4, 5, 40, 40),
            ("tool_calls", "completed", 3, 8, 10, 10),
            ("message_creation", "failed", 2, 3, 3, 3),
            ("tool_calls", "cancelled", 1, 30, 30, 30),
            ("tool_calls", "expired", 1, 600, 600, 600),
            ("tool_calls", "failed", 1, 6, 6, 6),
            ("tool_calls", "in_progress", 1, None, None, None),
        ],
    ),
    "outcomes_by_type": (
        [],
        "type steps completed bad cancelled open success_percent p50_s p95_s",
        [("tool_calls", 7, 3, 2, 1, 1, 60, 10, 600), ("message_creation", 6, 4, 2, 0, 0, 66.67, 4, 40)],
    ),
    "outcomes_by_assistant": (
        [],
        "assistant steps completed bad cancelled open success_percent p50_s p95_s",
        [("ann", 9, 6, 3, 0, 0, 66.67, 6, 600), ("bob", 4, 1, 1, 1, 1, 50, 5, 30)],
    ),
    "outcomes_by_hour": (
        ["--set", "assistant=bob"],
        "hour steps completed bad cancelled open success_percent p50_s",
        [
            ("2026-03-04T10:00:00Z", 2, 0, 0, 1, 1, None, 30),
            ("2026-03-02T11:00:00Z", 2, 1, 1, 0, 0, 50, 5),
        ],
    ),
    "stuck_steps": ([], "step_id status note", [("s9", "in_progress", "past its deadline")]),
    "steps_in_parallel": (
        [],
        "assistant at_once at steps",
        [
            ("all assistants", 2, "2026-03-02T10:00:04.000Z", 12),
            ("ann", 2, "2026-03-02T10:00:04.000Z", 9),
            ("bob", 1, "2026-03-02T11:00:00.000Z", 3),
        ],
    ),
    "step_timeline": (
        ["--set", "step=s1"],
        "kafka_timestamp status outcome delay_s kafka_offset run_id",
        [
            ("2026-03-02T10:00:01.000Z", "in_progress", "stored", 2, 0, "r1"),
            ("2026-03-02T10:00:11.000Z", "completed", "stored", 2, 1, "r1"),
            ("2026-03-12T10:00:01.000Z", "in_progress", "stored", 60, 19, "r1"),
        ],
    ),
    "slowest_steps": (
        ["--set", "limit=2"],
        "step_id seconds status",
        [("s11", 600, "expired"), ("s13", 40, "completed")],
    ),
    "slow_outliers": (
        ["--set", "least=3"],
        "step_id times_usual seconds usual_s of_kind type tools assistant",
        [("s13", 10, 40, 4, 3, "message_creation", [], "ann")],
    ),
    "latency_drift": (
        ["--set", "least=1", "--until", "2026-03-04T00:00"],
        "assistant type steps steps_before p50_s p50_before_s p95_s p95_before_s p95_change_percent",
        [("ann", "message_creation", 1, 2, 40, 4, 40, 4, 900)],
    ),
    "top_errors": (
        [],
        "fingerprint category code steps assistants sample",
        [
            ("f3", "server", "server_error", 1, 1, "what f3 says"),
            ("f2", "server", "server_error", 1, 1, "what f2 says"),
            ("f1", "rate_limit", "rate_limit_exceeded", 1, 1, "what f1 says"),
        ],
    ),
    "failures_by_hour": (
        [],
        "hour ended failed expired failed_percent",
        [("2026-03-11T10:00:00Z", 2, 1, 1, 100)],
    ),
    "new_errors": (
        [],
        "fingerprint category code steps first_seen",
        [("f3", "server", "server_error", 1, "2026-03-11T10:11:40.000Z")],
    ),
    "errors_by_category": (
        [],
        "category retryable steps percent assistants runs tokens",
        [
            ("server", True, 2, 50, 2, 2, 240),
            ("expired", None, 1, 25, 1, 1, 120),
            ("rate_limit", True, 1, 25, 1, 1, 120),
        ],
    ),
    "retries": (
        [],
        "category failures retried retried_percent succeeded failed_again cancelled_or_open in_the_same_run p50_wait_s",
        [
            ("server", 2, 0, 0, 0, 0, 0, 0, None),
            ("expired", 1, 0, 0, 0, 0, 0, 0, None),
            ("rate_limit", 1, 1, 100, 1, 0, 0, 1, 2),
        ],
    ),
    "runs_by_status": (
        [],
        "status runs steps_a_run p50_s p95_s max_s waiting_percent failed_steps",
        [
            ("completed", 4, 2, 18, 40, 40, 5.06, 1),
            ("failed", 2, 1, 3, 3, 3, 0, 2),
            ("cancelled", 1, 1, 30, 30, 30, 0, 0),
            ("expired", 1, 1, 600, 600, 600, 0, 1),
            ("in_progress", 1, 1, None, None, None, None, 0),
        ],
    ),
    "slowest_runs": (
        ["--set", "limit=5"],
        "run_id wall_s active_s waiting_s client_s critical_s critical_steps steps failed_steps status error_category",
        [
            ("r7", 600, 600, 0, 600, 600, 1, 1, 1, "expired", "expired"),
            ("r9", 40, 40, 0, 0, 40, 1, 1, 0, "completed", ""),
            ("r6", 30, 30, 0, 0, 30, 1, 1, 0, "cancelled", ""),
            ("r2", 18, 16, 2, 14, 16, 3, 3, 1, "completed", "rate_limit"),
            ("r1", 16, 14, 2, 10, 14, 2, 3, 0, "completed", ""),
        ],
    ),
    "run_time_by_assistant": (
        [],
        "assistant runs steps_a_run p50_s service_percent client_percent waiting_percent runs_with_failures",
        [("ann", 5, 1.8, 18, 6.96, 92.44, 0.59, 3), ("bob", 3, 1, 5, 100, 0, 0, 1)],
    ),
    "run_timeline": (
        ["--set", "run=r1"],
        "step_id at_s seconds gap_s is_critical status",
        [("s1", 0, 10, None, 1, "completed"), ("s2", 4, 3, -6, 0, "completed"), ("s3", 12, 4, 2, 1, "completed")],
    ),
    "tools": (
        [],
        "tool kind calls steps p50_s p95_s failed_steps completed_steps success_percent",
        [
            ("weather", "function", 5, 4, 10, 600, 2, 2, 50),
            ("code_interpreter", "code_interpreter", 1, 1, 30, 30, 0, 0, None),
            ("file_search", "file_search", 1, 1, 3, 3, 0, 1, 100),
            ("pay", "function", 1, 1, None, None, 0, 0, None),
        ],
    ),
    "tool_errors": (
        [],
        "tool category steps last_message",
        [("weather", "expired", 1, ""), ("weather", "rate_limit", 1, "what f1 says")],
    ),
    "client_waits": (
        [],
        "function steps calls waited_s p50_s p95_s max_s expired waiting_still",
        [("weather", 4, 5, 624, 10, 600, 600, 1, 0), ("pay", 1, 1, None, None, None, None, 0, 1)],
    ),
    "waiting_on_client": ([], "step_id functions note", [("s9", ["pay"], "past its deadline")]),
    "tokens_by_assistant": (
        [],
        "assistant steps prompt completion total cached reasoning steps_without_usage",
        [("ann", 9, 1900, 380, 2280, 45, 0, 0), ("bob", 4, 300, 60, 360, 15, 0, 1)],
    ),
    "tokens_by_day": (
        [],
        "day steps prompt completion total tokens_a_step trend_percent",
        [
            ("2026-03-11", 2, 200, 40, 240, 120, 100),
            ("2026-03-04", 2, 100, 20, 120, 120, -89.5),
            ("2026-03-03", 1, 1000, 200, 1200, 1200, 11.1),
            ("2026-03-02", 8, 900, 180, 1080, 135, None),
        ],
    ),
    "tokens_by_run": (
        ["--set", "limit=2"],
        "run_id total prompt completion steps tool_calls status",
        [("r9", 1200, 1000, 200, 1, 0, "completed"), ("r1", 480, 400, 80, 3, 2, "completed")],
    ),
    "account": (
        [],
        "topic partition records stored dead_lettered ignored first_offset last_offset gaps",
        [("run-steps", 0, 19, 18, 0, 1, 0, 19, 1), ("run-steps", 1, 9, 8, 1, 0, 0, 8, 0)],
    ),
    "ingest_freshness": (
        [],
        "partition records last_record p50_delay_s p95_delay_s max_delay_s",
        [(0, 19, "2026-03-12T10:00:01.000Z", 2, 60, 60), (1, 9, "2026-03-11T10:33:21.000Z", 2, 2, 2)],
    ),
    "ingest_by_hour": (
        ["--set", "limit=2"],
        "hour rows stored dead_lettered ignored p50_delay_s max_delay_s",
        [("2026-03-12T10:00:00Z", 1, 1, 0, 0, 60, 60), ("2026-03-11T10:00:00Z", 6, 4, 1, 1, 2, 2)],
    ),
    "refusals": (
        [],
        "outcome reason records last_place",
        [("dead_lettered", "invalid_json", 1, "run-steps/1:8"), ("ignored", "delta", 1, "run-steps/0:17")],
    ),
    "anomalies": (
        [],
        "anomaly dialect steps assistants last_step",
        [("unit_repaired", "snake_case", 2, 1, "s11"), ("x", "snake_case", 1, 1, "s11")],
    ),
}
