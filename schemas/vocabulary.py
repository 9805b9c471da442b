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
"""Whether trying again can help, by category; a category that is not listed does not tell."""

ANOMALIES: Final = (
    "event_ahead_of_status",  # the event's name says the step ended, its body does not (DashScope)
    "future_timestamp",  # a stamp lies more than an hour after the record's own
    "id_repaired",  # an id of the second rank (thread, assistant, message) was no string
    "metadata_repaired",  # metadata was no map, or a value was no string
    "negative_duration",  # the step ended before it was created
    "stamp_without_terminal_status",  # a terminal stamp on a step that has not ended
    "terminal_without_timestamp",  # the step ended, nobody knows when
    "text_truncated",  # a text was longer than is kept
    "token_count_unreadable",  # a token count was negative, fractional, or larger than 64 bits
    "type_inferred",  # the type came from step_details
    "type_mismatch",  # type and step_details.type disagree
    "unit_repaired",  # a date of January 1970 or of the year 56000, made by a known SDK, was repaired
    "unknown_field",  # top-level fields nobody has documented; kept in extra_fields
    "unknown_status",
    "unknown_type",
    "unreadable_details",  # step_details was neither an object nor null
    "unreadable_timestamp",  # a stamp (other than created_at) could not be read
)


def label(value: str, known: AbstractSet[str]) -> str:
    """Return `value` where it is a known label, else `other`."""
    return value if value in known else OTHER
