"""What kind of failure an error is: one of the closed set in `schemas.vocabulary`.

Owns the rule that the message beats the code where it says more. A code that is precise (`content_filter`,
`invalid_engine_error`) settles it; a code that covers several causes (`server_error`, `rate_limit_exceeded`, `429`,
`tool_user_error`) is used only if the message names no cause.
"""

import re
from typing import Final

_SETTLED: Final = {
    "quota": (
        "insufficient_quota quota_exceeded quotaexceeded billing_hard_limit_reached billing_not_active "
        "insufficient_balance"
    ),
    "content_filter": "content_filter contentfilter content_policy_violation responsibleaipolicyviolation",
    "auth": (
        "401 403 invalid_api_key authentication_error authenticationerror authenticationfailed unauthorized "
        "unauthenticated permission_denied permissiondenied permission_error forbidden access_denied accessdenied "
        "authorizationfailed invalid_token token_expired expired_token"
    ),
    "timeout": "408 504 timeout timeouterror request_timeout gateway_timeout timed_out deadline_exceeded",
    "invalid_request": (
        "404 405 413 415 422 not_found notfound notfounderror resource_not_found resourcenotfound model_not_found "
        "deploymentnotfound context_length_exceeded string_above_max_length array_above_max_length unknown_parameter "
        "unprocessable_entity operationnotsupported"
    ),
    "cancelled": "cancelled canceled run_cancelled user_cancelled",
    "expired": "expired run_expired step_expired",
}
_BROAD: Final = {
    "rate_limit": (
        "rate_limit_exceeded rate_limit rate_limit_error ratelimiterror ratelimitreached 429 too_many_requests "
        "toomanyrequests throttled throttling tokens requests"
    ),
    "server": (
        "server_error internal_error internal_server_error internalservererror servererror system_error api_error "
        "500 502 503 529 service_unavailable serviceunavailable bad_gateway overloaded overloaded_error "
        "engine_overloaded server_overloaded"
    ),
    "invalid_request": "400 bad_request badrequest invalid_request_error validationerror validation_error",
}
_SETTLED_CODES: Final = {code: category for category, codes in _SETTLED.items() for code in codes.split()}
_BROAD_CODES: Final = {code: category for category, codes in _BROAD.items() for code in codes.split()}
_INVALID_PREFIXES: Final = ("invalid_", "missing_", "unsupported_", "unknown_", "string_", "array_", "integer_")

# What a message can say that a broad code does not. In this order: "request too large" also names the rate limit.
_CAUSES: Final = (
    (
        "quota",
        (
            "exceeded your current quota",
            "insufficient_quota",
            "billing hard limit",
            "credit balance is too low",
            "insufficient balance",
            "out of credits",
        ),
    ),
    (
        "invalid_request",
        (
            "request too large",
            "maximum context length",
            "context length exceeded",
            "context_length_exceeded",
            "tokens must be reduced",
            "prompt is too long",
        ),
    ),
    (
        "content_filter",
        (
            "content_filter",
            "content filter",
            "content management policy",
            "content policy",
            "responsibleaipolicy",
            "our safety system",
        ),
    ),
    (
        "auth",
        (
            "incorrect api key",
            "invalid api key",
            "invalid_api_key",
            "provide an api key",
            "unauthorized",
            "unauthenticated",
            "authentication failed",
            "authentication error",
            "authenticationerror",
            "permissiondenied",
            "permission denied",
            "access denied",
            "forbidden",
            "not authorized",
            "lacks the required",
            "not have permission",
            "insufficient permissions",
            "not have access",
            "token has expired",
            "token is expired",
            "token expired",
            "invalid credentials",
        ),
    ),
    ("rate_limit", ("rate limit", "ratelimit", "rate_limit", "too many requests", "throttl")),
    (
        "timeout",
        (
            "timed out",
            "timeout error",
            "timeouterror",
            "timeoutexception",
            "timeout exceeded",
            "request timeout",
            "read timeout",
            "connect timeout",
            "connection timeout",
            "gateway timeout",
            "deadline exceeded",
        ),
    ),
)
_STATUS_CAUSES: Final = {"401": "auth", "403": "auth", "429": "rate_limit", "408": "timeout", "504": "timeout"}

# What a message can say where there is no code, or an unknown one.
_HINTS: Final = (
    ("tool", ("enumerating tools", "enumerate tools", "listing tools", "list_tools", "tool execution", "tool failed")),
    (
        "server",
        (
            "the server had an error",
            "internal server error",
            "while processing your request",
            "something went wrong",
            "overloaded",
            "service unavailable",
            "temporarily unavailable",
            "bad gateway",
        ),
    ),
    (
        "invalid_request",
        (
            "missing required parameter",
            "no tool output found",
            "found with id",
            "does not exist",
            "not supported",
            "unsupported value",
            "invalid value",
            "invalid '",
            "maximum length",
            "bad request",
        ),
    ),
    ("cancelled", ("was cancelled", "was canceled", "been cancelled", "been canceled")),
    ("expired", ("run expired", "run has expired", "step expired", "step has expired")),
)
_statuses: Final = re.compile(
    r"(?:http|status|code|error)[ :=]{1,3}([45]\d\d)\b"
    r"|(?:^|: |\()([45]\d\d)(?= ?\(|\)|:|\.?$)"
    r"|^([45]\d\d) [a-z]",
    re.ASCII,
).findall


def category_of(code: str, message: str) -> str:
    """Return the category of an error; `unknown` where neither its code nor its message says."""
    name = code.lower()
    settled = _SETTLED_CODES.get(name)
    if settled:
        return settled
    broad = _BROAD_CODES.get(name)
    if not broad and name.startswith(_INVALID_PREFIXES):
        return "invalid_request"
    text = message.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    statuses = {status for found in _statuses(text) for status in found if status}
    cause = _phrase(text, _CAUSES) or next((_STATUS_CAUSES[s] for s in sorted(statuses) if s in _STATUS_CAUSES), "")
    if cause:
        return cause
    if name.startswith("tool_"):
        return "tool"
    return broad or _phrase(text, _HINTS) or _by_status(statuses)


def _phrase(text: str, table: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    for category, phrases in table:
        for phrase in phrases:
            if phrase in text:
                return category
    return ""


def _by_status(statuses: set[str]) -> str:
    if not statuses:
        return "unknown"
    return "server" if max(statuses) >= "500" else "invalid_request"
