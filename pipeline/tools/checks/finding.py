"""What a check returns."""

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "bad"]


class Finding(NamedTuple):
    """What was looked at, and how it is.

    Attributes:
        subject: what was looked at, such as `topic run-steps`.
        ok: whether it is as it has to be.
        detail: what was found.
        fix: what to do about it; with `ok` it makes a warning, for what can go wrong or is unknown.
        unavailable: whether the service gave no answer at all, so that nothing more is known of it.
    """

    subject: str
    ok: bool
    detail: str
    fix: str = ""
    unavailable: bool = False

    @property
    def level(self) -> Level:
        """How much it matters."""
        if not self.ok:
            return "bad"
        return "warning" if self.fix else "ok"


def fine(subject: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(subject, ok=True, detail=detail)


def warning(subject: str, detail: str, fix: str) -> Finding:
    """Return what stops nothing now but can, or what is unknown."""
    return Finding(subject, ok=True, detail=detail, fix=fix)


def bad(subject: str, detail: str, fix: str = "") -> Finding:
    """Return what is wrong in a service that does answer."""
    return Finding(subject, ok=False, detail=detail, fix=fix)


def away(subject: str, detail: str, fix: str) -> Finding:
    """Return that a service does not answer."""
    return Finding(subject, ok=False, detail=detail, fix=fix, unavailable=True)
