"""The errors that the daemons tell of, by class: the last one's text, whose it was, and when it was seen."""

from typing import Final, NamedTuple

from pipeline.tools.top.counters import Flow, Samples, grouped
from pipeline.tools.top.figures import Trouble
from pipeline.tools.top.sampling import Heard

_RETRIES: Final = "runstep_insert_retries_total"


class _Last(NamedTuple):
    member: str
    text: str
    seen_at: float | None


class Troubles:
    """The last error of each class, over all members.

    /status does not say when it was: it was now if its text is new, or if more inserts were tried again for its like.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[str, float]]] = {}
        self._last: dict[str, _Last] = {}

    def take(self, heard: Heard, wall: float) -> None:
        """Take what a daemon says."""
        retries = grouped(heard.samples, _RETRIES, "error_class")
        told = {name: (text, retries.get(name, 0.0)) for name, text in heard.status.last_error.items()}
        before = self._known.get(heard.address)
        for error_class, (text, number) in told.items():
            if before is None:
                self._last.setdefault(error_class, _Last(heard.address, text, None))
            elif before.get(error_class) != (text, number):
                self._last[error_class] = _Last(heard.address, text, wall)
        self._known[heard.address] = told

    def shown(self, flow: Flow, counted: Samples) -> tuple[Trouble, ...]:
        """Return what is known of each class, the latest first."""
        pace, totals = flow.by(_RETRIES, "error_class"), grouped(counted, _RETRIES, "error_class")
        classes = [*self._last, *(name for name, number in totals.items() if number and name not in self._last)]
        rows = [
            Trouble(name, *self._last.get(name, _Last("", "", None)), pace.get(name, 0.0), totals.get(name, 0.0))
            for name in classes
        ]
        return tuple(sorted(rows, key=lambda row: (-(row.seen_at or 0.0), row.error_class)))
