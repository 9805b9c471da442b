"""The error of a step, in whatever shape it comes.

Owns the shapes of `last_error`, and that a step which ended badly always has a category. Categories and fingerprints
have files of their own beside this one.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.normalize.error_categories import category_of
from pipeline.normalize.error_fingerprints import fingerprint
from pipeline.normalize.json_text import json_text
from pipeline.normalize.rules import Rules, takes
from pipeline.redaction import redact
from schemas.vocabulary import RETRYABLE


class StepError(NamedTuple):
    """What is stored of an error; all empty where there is none.

    Attributes:
        code: as it was sent, at most 128 characters.
        category: one of `schemas.vocabulary.ERROR_CATEGORIES`.
        retryable: whether trying again can help; None where the category does not say.
        message: redacted and cut.
        fingerprint: equal for errors that are the same fault.
    """

    code: str
    category: str
    retryable: bool | None
    message: str
    fingerprint: str


NO_ERROR: Final = StepError("", "", None, "", "")

_WITHOUT_ERROR: Final = {
    "failed": NO_ERROR._replace(category="unknown"),
    "expired": NO_ERROR._replace(category="expired"),
    "cancelled": NO_ERROR._replace(category="cancelled"),
}
_without_error: Final = _WITHOUT_ERROR.get

_MAX_CODE_CHARS: Final = 128
# A secret cut in two is not recognized: more is redacted than is kept, and what the cut may have hurt is dropped.
_MARGIN_CHARS: Final = 1_024
_MIN_EXAMINED_CHARS: Final = 4_096
_LOOKS: Final = 2
"""At a message: for secrets, and for what makes it the same fault."""
_MAX_CACHED_CHARS: Final = 1_024
_MAX_CACHED_ERRORS: Final = 2_048
_MAX_NESTING: Final = 4


def read_error(last_error: object, status: str, rules: Rules, anomalies: list[str]) -> StepError:
    """Return the error of a step, or `NO_ERROR`.

    Known shapes: null, absent (None), `{}`, `""`, `{code: "", message: ""}` (none of these is an error), a string,
    `{code, message}`, `{type, message}`, the same inside of `{error: ...}`. Anything else becomes the message as JSON.
    Never raises.

    Args:
        last_error: the field as it came.
        status: the step's status; failed, expired and cancelled steps have a category without any error, too.
        rules: how many characters of the message are kept; without a share of the work, none are.
        anomalies: gets `text_not_searched`.
    """
    if last_error is None:
        return _without_error(status, NO_ERROR)
    code, message = _code_and_message(last_error)
    if not code and not message:
        return _without_error(status, NO_ERROR)
    if rules.share is not None and not takes(
        rules.share, _LOOKS * min(len(message), _window(rules.max_text)), anomalies
    ):
        message = ""
    judge = _known if len(message) <= _MAX_CACHED_CHARS else _judged
    error = judge(code, message, rules.max_text)
    if error.category == "unknown" and status in _WITHOUT_ERROR:
        return error._replace(category=_WITHOUT_ERROR[status].category)
    return error


def _code_and_message(last_error: Any) -> tuple[str, str]:
    for _ in range(_MAX_NESTING):
        if not isinstance(last_error, dict):
            break
        code, message = last_error.get("code"), last_error.get("message")
        if not code:
            code = last_error.get("type")
        if code or message:
            return _text(code)[: _MAX_CODE_CHARS + _MARGIN_CHARS], _text(message)
        if "error" not in last_error:
            break
        last_error = last_error["error"]
    if isinstance(last_error, dict) and not _says_something(last_error):
        return "", ""
    return "", _text(last_error)


def _says_something(fields: dict[str, Any]) -> bool:
    return any(value for value in fields.values())


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return json_text(value) if value else ""


def _window(max_text: int) -> int:
    return max(max_text, _MIN_EXAMINED_CHARS) + _MARGIN_CHARS


def _judged(code: str, message: str, max_text: int) -> StepError:
    window = _window(max_text)
    clean = redact(message[:window])
    if len(message) > window:
        clean = clean[:-_MARGIN_CHARS]
    code = redact(code)[:_MAX_CODE_CHARS]
    category = category_of(code, clean[:_MIN_EXAMINED_CHARS])
    return StepError(code, category, RETRYABLE.get(category), clean[:max_text], fingerprint(clean or code))


_known: Final = lru_cache(maxsize=_MAX_CACHED_ERRORS)(_judged)
