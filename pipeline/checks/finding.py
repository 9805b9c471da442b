"""One answer of a check."""

from typing import NamedTuple


class Finding(NamedTuple):
    """What was looked at, and how it is.

    Attributes:
        subject: what was looked at, such as `topic run-steps`.
        ok: whether it is as it has to be.
        detail: what was found.
        cure: what to do if it is not ok.
        unavailable: whether the service gave no answer at all, so that nothing more can be said about it.
    """

    subject: str
    ok: bool
    detail: str
    cure: str = ""
    unavailable: bool = False


def fine(subject: str, detail: str) -> Finding:
    """Return a good answer."""
    return Finding(subject, ok=True, detail=detail)


def bad(subject: str, detail: str, cure: str = "") -> Finding:
    """Return a bad answer of a service that does answer."""
    return Finding(subject, ok=False, detail=detail, cure=cure)


def away(subject: str, detail: str, cure: str) -> Finding:
    """Return that a service does not answer."""
    return Finding(subject, ok=False, detail=detail, cure=cure, unavailable=True)
