"""What a check returns, and what becomes of a check that fails itself."""

import traceback
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from pipeline.errors import RunstepError
from pipeline.logs import clean
from pipeline.text import readable

Level: TypeAlias = Literal["ok", "warning", "bad"]

UNKNOWN: Final = "unknown"
"""How the detail of a finding begins whose check failed itself."""


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


def guarded(
    subject: str, findings: Iterable[Finding], passing: tuple[type[Exception], ...] = (), *, required: bool = False
) -> Iterator[Finding]:
    """Yield findings; an exception that no check expects is a finding, too, so that the other checks go on.

    Args:
        subject: what is looked at.
        findings: a generator, which is run here.
        passing: exceptions that the caller handles: the service is away, so the rest need not be asked.
        required: whether the daemon cannot do without what is looked at: then an unknown state is no good state.
    """
    try:
        yield from findings
    except passing:
        raise
    except RunstepError as error:
        yield bad(subject, str(error), "correct what it names, then check again")
    except Exception as error:  # noqa: BLE001 - a diagnosis has to survive its instruments
        report = bad if required else warning
        yield report(
            subject,
            f"{UNKNOWN}: the check failed with {_named(error)}",
            "report this line to runstep; the other findings hold",
        )


def _named(error: Exception) -> str:
    """Return the error with the place in the code, which a report needs."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = "/".join(last.filename.split("/")[-3:])
    return f"{type(error).__name__}: {readable(clean(str(error)))} ({place}:{last.lineno})"
