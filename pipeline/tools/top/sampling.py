"""Asks all daemons at once; a slow one does not delay the others.

Each question has a thread of its own. A question that is not answered in time stays open, and its answer is taken with
a later round. One thread calls the sampler.
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

FIND_INTERVAL_S: Final = 5.0
"""Seconds between two searches for daemons."""

_UNUSED: Final = ("runstep_tokens_", "runstep_tool_calls_", "runstep_anomalies_", "python_", "#")
"""Most of a scrape is not needed here, and parsing it is what costs."""


class Answered(NamedTuple):
    """The answer of a daemon: `at` in monotonic seconds, its /status, its /metrics."""

    address: str
    at: float
    status: Status
    samples: Samples


class Unanswered(NamedTuple):
    """A daemon that did not answer, and why."""

    address: str
    at: float
    cause: str


Answer: TypeAlias = Answered | Unanswered


class Round(NamedTuple):
    """One round of questions: the new answers, and the daemons that are asked.

    Attributes:
        answers: those that are new.
        expected: the names of all daemons that are asked, in their order.
        search_error: why the daemons could not be found; '' when they could.
    """

    answers: Sequence[Answer]
    expected: Sequence[str]
    search_error: str


class Sampler:
    """Finds the daemons and asks them, round by round."""

    def __init__(
        self,
        find: Callable[[], Sequence[Address]],
        ask: Callable[[Address], Answer],
        *,
        find_interval_s: float = FIND_INTERVAL_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Prepare; no daemon is asked before `sample`.

        Args:
            find: returns the daemons, and may raise a `RunstepError`; called every few seconds, since members change.
            ask: asks one daemon; see `ask_over_http`.
            find_interval_s: time between two searches for daemons.
            answer_timeout_s: how long a daemon may be silent before it is reported as `Unanswered`.
        """
        self._find = find
        self._ask = ask
        self._find_interval_s = find_interval_s
        self._answer_timeout_s = answer_timeout_s
        self._search: _Question[Sequence[Address]] | None = None
        self._found_at = float("-inf")
        self._addresses: Sequence[Address] = ()
        self._search_error = ""
        self._open: dict[str, _Question[Answer]] = {}

    def sample(self, timeout_s: float) -> Round:
        """Ask every daemon that has no open question, and return what is answered within so many seconds.

        A daemon that has not answered for longer than its time-out is reported as `Unanswered`.
        """
        self._search_daemons(timeout_s)
        for address in self._addresses:
            if address.name not in self._open:
                self._open[address.name] = _Question(lambda address=address: self._ask(address))  # type: ignore[misc]
        wait([question.future for question in self._open.values()], timeout_s)
        expected = [address.name for address in self._addresses]
        answers = [answer for name in list(self._open) if (answer := self._take(name)) and name in expected]
        return Round(answers, expected, self._search_error)

    def _search_daemons(self, timeout_s: float) -> None:
        if self._search is None:
            if self._addresses and time.monotonic() < self._found_at + self._find_interval_s:
                return
            self._search = _Question(self._find)
        # Without a known daemon there is nothing else to do than wait.
        wait([self._search.future], 0.0 if self._addresses else timeout_s)
        if not self._search.future.done():
            if not self._addresses:
                self._search_error = self._search_error or "still searching for daemons"
            return
        search, self._search, self._found_at = self._search, None, time.monotonic()
        try:
            self._addresses, self._search_error = search.future.result(), ""
        except RunstepError as error:
            self._search_error = visible_line(str(error))

    def _take(self, name: str) -> Answer | None:
        question = self._open[name]
        if question.future.done():
            del self._open[name]
            return question.future.result()
        silent_s = time.monotonic() - question.asked_at
        if silent_s <= self._answer_timeout_s:
            return None
        return Unanswered(name, time.monotonic(), f"no answer for {silent_s:.0f} s")


class _Question(Generic[T]):
    """A question that is being answered by a thread of its own, which does not delay the end of the process.

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


def ask_over_http(http: HttpSettings) -> Callable[[Address], Answer]:
    """Return a function that asks a daemon for /status and /metrics; several threads may call it at once.

    The function does not raise: `Unanswered` says why there was no answer.
    """

    def ask(address: Address) -> Answer:
        try:
            through = opener(http, trusting=address.trusted)
            page = get(through, f"{address.url}/status")
            try:
                status = Status.read(page.text)
            except ValidationError:
                return Unanswered(
                    address.name,
                    time.monotonic(),
                    f"/status is not that of runstep (HTTP {page.status}): is this the port of http.bind?",
                )
            page = get(through, f"{address.url}/metrics")
            if page.status != HTTPStatus.OK:
                # Taken for a scrape, it would reset all counters, and the next one would count everything at once.
                return Unanswered(address.name, time.monotonic(), f"/metrics failed (HTTP {page.status})")
            samples = parsed(page.text)
        except UNANSWERED as error:
            return Unanswered(address.name, time.monotonic(), visible_line(reason(error)))
        return Answered(address.name, time.monotonic(), status, samples)

    return ask


def parsed(exposition: str) -> Samples:
    """Return the samples of a scrape that are used here, without those that are no finite number.

    Raises:
        ValueError: the text is no exposition.
    """
    lines = [line for line in exposition.splitlines() if not line.startswith(_UNUSED)]
    found: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families("\n".join(lines)):
        for sample in family.samples:
            key = frozenset((label, visible_line(value)) for label, value in sample.labels.items())
            if isfinite(sample.value):
                found[sample.name][key] = float(sample.value)
            # Else a bound that is no number would fail only later, in a quantile.
            float(sample.labels.get("le", 0))
    return found
