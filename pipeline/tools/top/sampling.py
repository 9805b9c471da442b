"""Asks the daemons, all at once, and none may keep the others waiting.

A question has a thread of its own; one that is not answered in time goes on, and its answer counts when it comes. One
thread calls the sampler.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from http import HTTPStatus
from math import isfinite
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from pipeline.config import HttpSettings
from pipeline.endpoints.status import Status
from pipeline.errors import RunstepError
from pipeline.text import visible_line
from pipeline.tools.daemon_client import ANSWER_TIMEOUT_S, UNANSWERED, get, opener, reason
from pipeline.tools.top.addresses import Address
from pipeline.tools.top.counters import Labels, Samples

T = TypeVar("T")

FIND_EVERY: Final = 5.0
"""Seconds between two looks at who is there."""

_UNUSED: Final = ("runstep_tokens_", "runstep_tool_calls_", "runstep_anomalies_", "python_", "#")
"""Most of a scrape is not needed here, and parsing it is what costs."""


class Heard(NamedTuple):
    """What a daemon said: `at` in monotonic seconds, its /status, its /metrics."""

    address: str
    at: float
    status: Status
    samples: Samples


class Silent(NamedTuple):
    """A daemon that did not answer, and why."""

    address: str
    at: float
    cause: str


Answer: TypeAlias = Heard | Silent


class Round(NamedTuple):
    """One round of questions: what was answered meanwhile, and whom one should hear of.

    Attributes:
        answers: those that are new.
        expected: the names of all who are asked, in their order.
        trouble: why nobody can say who is there; '' when somebody can.
    """

    answers: Sequence[Answer]
    expected: Sequence[str]
    trouble: str


class Sampler:
    """Finds the daemons and asks them, round by round."""

    def __init__(self, find: Callable[[], Sequence[Address]], ask: Callable[[Address], Answer]) -> None:
        """Prepare; nobody is asked before `sample`.

        Args:
            find: tells who is there, and may raise a `RunstepError`; called again and again, since members come and go.
            ask: asks one; `ask` of this module with settings.
        """
        self._find = find
        self._ask = ask
        self._search: _Question[Sequence[Address]] | None = None
        self._found_at = float("-inf")
        self._addresses: Sequence[Address] = ()
        self._trouble = ""
        self._open: dict[str, _Question[Answer]] = {}

    def sample(self, patience: float) -> Round:
        """Ask everybody who owes no answer, and return what is answered within so many seconds.

        A daemon that has been silent for longer than a time-out is told as such.
        """
        self._look_around(patience)
        for address in self._addresses:
            if address.name not in self._open:
                self._open[address.name] = _Question(lambda address=address: self._ask(address))  # type: ignore[misc]
        wait([question.future for question in self._open.values()], patience)
        expected = [address.name for address in self._addresses]
        answers = [answer for name in list(self._open) if (answer := self._take(name)) and name in expected]
        return Round(answers, expected, self._trouble)

    def _look_around(self, patience: float) -> None:
        if self._search is None:
            if self._addresses and time.monotonic() < self._found_at + FIND_EVERY:
                return
            self._search = _Question(self._find)
        # As long as nobody is known there is nothing else to do.
        wait([self._search.future], 0.0 if self._addresses else patience)
        if not self._search.future.done():
            if not self._addresses:
                self._trouble = self._trouble or "still finding out who is there"
            return
        search, self._search, self._found_at = self._search, None, time.monotonic()
        try:
            self._addresses, self._trouble = search.future.result(), ""
        except RunstepError as error:
            self._trouble = visible_line(str(error))

    def _take(self, name: str) -> Answer | None:
        question = self._open[name]
        if question.future.done():
            del self._open[name]
            return question.future.result()
        silent = time.monotonic() - question.asked_at
        return Silent(name, time.monotonic(), f"no answer for {silent:.0f} s") if silent > ANSWER_TIMEOUT_S else None


class _Question(Generic[T]):
    """Something that is being found out, by a thread that nobody has to wait for at the end.

    Attributes:
        asked_at: monotonic seconds.
        future: the answer.
    """

    def __init__(self, find_out: Callable[[], T]) -> None:
        self.asked_at = time.monotonic()
        self.future: Future[T] = Future()
        threading.Thread(target=self._run, args=(find_out,), name="runstep-question", daemon=True).start()

    def _run(self, find_out: Callable[[], T]) -> None:
        try:
            answer = find_out()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is wanted
            self.future.set_exception(error)
        else:
            self.future.set_result(answer)


def asking(http: HttpSettings) -> Callable[[Address], Answer]:
    """Return what asks a daemon for /status and /metrics; for several threads at once.

    It raises nothing: why there was no answer is the answer.
    """

    def ask(address: Address) -> Answer:
        try:
            through = opener(http, trusting=address.trusted)
            page = get(through, f"{address.url}/status")
            try:
                status = Status.read(page.text)
            except ValidationError:
                return Silent(
                    address.name, time.monotonic(), f"its /status is not runstep's (HTTP {page.status}); another port?"
                )
            page = get(through, f"{address.url}/metrics")
            if page.status != HTTPStatus.OK:
                # Taken for a scrape, it would be a daemon that has counted nothing, and the next one all at once.
                return Silent(address.name, time.monotonic(), f"its /metrics failed (HTTP {page.status})")
            samples = parsed(page.text)
        except UNANSWERED as error:
            return Silent(address.name, time.monotonic(), visible_line(reason(error)))
        return Heard(address.name, time.monotonic(), status, samples)

    return ask


def parsed(exposition: str) -> Samples:
    """Return what a scrape shows, without what is of no use here, and without what is no number.

    Raises:
        ValueError: it is no exposition.
    """
    lines = [line for line in exposition.splitlines() if not line.startswith(_UNUSED)]
    found: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families("\n".join(lines)):
        for sample in family.samples:
            key = frozenset((label, visible_line(value)) for label, value in sample.labels.items())
            if isfinite(sample.value):
                found[sample.name][key] = float(sample.value)
            # That a bound is no number would be noticed by the first quantile only.
            float(sample.labels.get("le", 0))
    return found
