"""Families of errors, worded as the services word them; each message varies where real ones vary.

A family is one fault: all its messages have the same fingerprint and category, and a retry helps all of them or none.
"""

from collections.abc import Callable
from string import Formatter
from typing import Final, NamedTuple

from pipeline.tools.simulation.seeded_random import SeededRandom, Weighted
from schemas.vocabulary import RETRYABLE


class Failure(NamedTuple):
    """The `last_error` of a step, and what it means."""

    family: str
    code: str
    message: str
    category: str
    retryable: bool | None


class _Family(NamedTuple):
    name: str
    weight: float
    code: str
    category: str
    template: str


_VARYING: Final[dict[str, Callable[[SeededRandom], str]]] = {
    "request": lambda rng: "req_" + rng.randbytes(16).hex(),
    "hex": lambda rng: rng.randbytes(16).hex(),
    "guid": SeededRandom.guid,
    "session": lambda rng: "sess_" + rng.token()[:21],
    "organization": lambda rng: "org-" + rng.token(),
    "call": lambda rng: "call_" + rng.token(),
    "seconds": lambda rng: str(rng.between(2, 60)),
    "delay": lambda rng: f"{rng.uniform(1, 30):.3f}s",
    "tokens": lambda rng: str(rng.between(30_001, 90_000)),
    "used": lambda rng: str(rng.between(9_000, 30_000)),
    "tunnel": lambda rng: rng.randbytes(6).hex() + ".ngrok-free.app",
    "service": lambda rng: f"search-{rng.randbytes(3).hex()}.search.windows.net",
}

_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_BUSY = (
    "The server had an error processing your request. Sorry about that! You can retry your request, or contact us "
    "through our help center at help.openai.com if you keep seeing this error. (Please include the request ID "
    "{request} in your email.)"
)
_BUSY_AZURE = (
    "The server had an error while processing your request. Sorry about that! You can retry your request, or contact "
    "us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists. "
    "(Please include the request ID {guid} in your message.)"
)
_RATE = (
    "Rate limit reached for gpt-4o in organization {organization} on tokens per min (TPM): Limit 30000, Used {used}, "
    "Requested {used}. Please try again in {delay}. Visit https://platform.openai.com/account/rate-limits to learn "
    "more."
)
_TOO_LARGE = (
    "Request too large for gpt-4o in organization {organization} on tokens per min (TPM): Limit 30000, Requested "
    "{tokens}. The input or output tokens must be reduced in order to run successfully. Visit "
    "https://platform.openai.com/account/rate-limits to learn more."
)
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry. To learn more about our content filtering policies please read our documentation: "
    "https://go.microsoft.com/fwlink/?linkid=2198766"
)
_LIST_TOOLS = (
    "Error: list_tools_server_error; Server error while listing tools: Failed to enumerate tools from remote server: "
    "https://{tunnel}:443/. Response status code does not indicate success: 405 (Method Not Allowed)."
)
_SEARCH = (
    "Error: search_service_request_error; Unable to connect to Azure AI Search Resource. Cannot connect to host "
    "{service}:443 ssl:default [DNS server returned answer with no data]"
)
_CONNECTION = (
    "Error: invalid_tool_input; The specified connection ID '/subscriptions/{guid}/resourceGroups/agents/providers/"
    "Microsoft.CognitiveServices/accounts/agents/projects/main/connections/bing' was not found in the project or "
    "account connections."
)
_CONTEXT = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in {tokens} tokens. Please "
    "reduce the length of the messages."
)

FAMILIES: Final = (
    _Family("sorry", 22, "server_error", "server", "Sorry, something went wrong."),
    _Family("busy", 14, "server_error", "server", _BUSY),
    _Family("busy", 10, "server_error", "server", _BUSY_AZURE),
    _Family(
        "rate_wait",
        16,
        "rate_limit_exceeded",
        "rate_limit",
        "Rate limit is exceeded. Try again in {seconds} seconds.",
    ),
    _Family("rate_tokens", 12, "rate_limit_exceeded", "rate_limit", _RATE),
    _Family("too_large", 3, "rate_limit_exceeded", "invalid_request", _TOO_LARGE),
    _Family("quota", 4, "rate_limit_exceeded", "quota", _QUOTA),
    _Family("list_tools", 5, "tool_server_error", "tool", _LIST_TOOLS),
    _Family("search", 3, "tool_user_error", "tool", _SEARCH),
    _Family("connection", 2, "tool_user_error", "tool", _CONNECTION),
    _Family("filtered", 2, "content_filter", "content_filter", _FILTERED),
    _Family("context", 2, "context_length_exceeded", "invalid_request", _CONTEXT),
)
_CHOICE: Final = Weighted([(family, family.weight) for family in FAMILIES])
_FIELDS: Final = {
    family.template: [name for _, name, _, _ in Formatter().parse(family.template) if name] for family in FAMILIES
}


def failure(rng: SeededRandom) -> Failure:
    """Return an error as a failed step carries it."""
    family = _CHOICE.pick(rng)
    message = family.template.format(**{name: _VARYING[name](rng) for name in _FIELDS[family.template]})
    return Failure(family.name, family.code, message, family.category, RETRYABLE.get(family.category))
