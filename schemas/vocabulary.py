"""The closed vocabularies: the only values that labels, categories and anomalies can have.

Text that producers send (types, statuses, codes) is kept as it came in the tables; where it becomes a metric label,
`label` maps what is not listed here to `other`.
"""

from collections.abc import Set as AbstractSet
from typing import Final

OTHER: Final = "other"

TERMINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled", "expired"})
FAILURE_STATUSES: Final = frozenset({"failed", "expired"})
STATUSES: Final = TERMINAL_STATUSES | {"in_progress"}

STEP_TYPES: Final = frozenset({"message_creation", "tool_calls", "activities"})

TOOL_TYPES: Final = frozenset(
    {
        "azure_ai_search",
        "azure_function",
        "bing_custom_search",
        "bing_grounding",
        "browser_automation",
        "code_interpreter",
        "computer_use_preview",
        "connected_agent",
        "deep_research",
        "fabric_dataagent",
        "file_search",
        "function",
        "mcp",
        "openapi",
        "retrieval",
        "sharepoint_grounding",
    }
)

DIALECTS: Final = ("snake_case", "camel_case", "envelope")

ERROR_CATEGORIES: Final = (
    "rate_limit",
    "quota",
    "server",
    "timeout",
    "invalid_request",
    "content_filter",
    "auth",
    "tool",
    "cancelled",
    "expired",
    "unknown",
)

RETRYABLE: Final[dict[str, bool | None]] = {
    "rate_limit": True,
    "server": True,
    "timeout": True,
    "quota": False,
    "invalid_request": False,
    "content_filter": False,
    "auth": False,
}
"""Whether a retry can help, by category; NULL for a category that is not listed."""

ANOMALY_MEANINGS: Final = {
    "event_ahead_of_status": "the event's name says that the step ended, its body does not (DashScope)",
    "future_timestamp": "a time lies more than an hour after the record's own; the end and the duration are NULL",
    "id_repaired": "`thread_id`, `assistant_id` or the message id was not a string",
    "metadata_repaired": "`metadata` was not a map, one of its values was not a string, or it had more than 1,000"
    " entries or a key longer than 256 characters: those entries are in `extra_fields`",
    "negative_duration": "the step ended before it was created; `duration_ms` is NULL",
    "stamp_without_terminal_status": "an end time on a step that has not ended",
    "terminal_without_timestamp": "the step ended, and the event does not say when",
    "text_not_searched": "the record has more text than is searched for secrets (`normalize.max_searched`): the rest is"
    " not stored",
    "text_truncated": "a text was longer than is kept, and was cut; or a step has more than 1,000 tool calls",
    "token_count_unreadable": "a token count was negative, fractional, or above 10^12",
    "type_inferred": "`type` was missing and was taken from `step_details`",
    "type_mismatch": "`type` and `step_details.type` disagree",
    "unit_repaired": "a date of January 1970 or of the year 56000, which known SDKs produce, was repaired",
    "unknown_field": "top-level fields that no known form has; they are kept in `extra_fields`",
    "unknown_status": "`status` is none of the five known ones; it is kept",
    "unknown_type": "`type` is not a known one; it is kept",
    "unreadable_details": "`step_details` was neither an object nor null",
    "unreadable_timestamp": "a time other than `created_at` could not be read",
}
"""What each anomaly says about an event that was stored."""

ANOMALIES: Final = tuple(ANOMALY_MEANINGS)


def label(value: str, known: AbstractSet[str]) -> str:
    """Return `value` where it is a known label, else `other`."""
    return value if value in known else OTHER
