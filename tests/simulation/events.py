"""What is produced in a simulated world, with the truth about each record: small, nasty, quick to make.

Owns the mix: lives of steps out of order and repeated, records of several steps, records that decode refuses, that are
none of our business, or that only the sink refuses. Shares no rule's code with the pipeline.
"""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from tests.simulation.scheduler import EPOCH

StepKey: TypeAlias = tuple[str, str, str]
TERMINAL: Final = ("completed", "failed", "cancelled", "expired")
POISON: Final = "poison"
"""Begin of the ids of steps that the sink refuses."""
SPOILED: Final = "spoiled"
"""Begin of the ids of steps whose end the sink refuses, and nothing else of them."""


def is_refused(step: str, status: str) -> bool:
    """Return whether the sink refuses the row of a step in this state."""
    return step.startswith(POISON) or (step.startswith(SPOILED) and status in TERMINAL)


class Sighting(NamedTuple):
    """A step's state as one row of one record tells it."""

    key: StepKey
    status: str
    occurred_at: int

    def ended(self) -> bool:
        """Return whether it is a terminal state."""
        return self.status in TERMINAL

    def rank(self, offset: int) -> tuple[bool, int, int]:
        """Return what decides which of two states is the current one; the greater wins."""
        return self.ended(), self.occurred_at, offset


@dataclass
class Event:
    """A record, and what must become of it.

    Attributes:
        rows: (outcome, reason) of each row of the ledger, by step index.
        steps: the state that a row tells, None where it is not stored; by step index.
    """

    value: bytes | None
    rows: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Sighting | None] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """What the record counts as: its worst row."""
        outcomes = [outcome for outcome, _ in self.rows]
        return next(worst for worst in ("dead_lettered", "stored", "ignored") if worst in outcomes)

    @property
    def reason(self) -> str:
        """The reason of its dead letter, '' without one."""
        return next((reason for outcome, reason in self.rows if outcome == "dead_lettered"), "")


class Mix(NamedTuple):
    """Shares of what is not simply a step's next state."""

    broken: float = 0.0
    foreign: float = 0.0
    pages: float = 0.0
    poison: float = 0.0
    repeats: float = 0.2


class Producer:
    """Makes the events of one partition."""

    def __init__(self, chance: Random, partition: int, mix: Mix) -> None:
        self._chance = chance
        self._partition = partition
        self._mix = mix
        self._made = 0
        self._open: list[tuple[str, int, list[str]]] = []
        self._past: list[Event] = []

    def make(self) -> Event:
        """Return the next event."""
        chance, mix = self._chance, self._mix
        draw = chance.random()
        for share, make in (
            (mix.broken, self._broken),
            (mix.foreign, self._foreign),
            (mix.pages, self._page),
            (mix.repeats, self._repeat),
        ):
            if draw < share:
                return make()
            draw -= share
        event = self._stored([self._next_state()])
        self._past.append(event)
        return event

    def make_good(self) -> Event:
        """Return a step of its own, which everybody takes."""
        return self._stored([(f"last_{self._partition}", int(EPOCH), "in_progress")])

    def _broken(self) -> Event:
        if self._chance.random() < 0.5:
            return Event(b'{"object":"thread.run.step","id":', [("dead_lettered", "invalid_json")], [None])
        body = json.dumps({"object": "thread.run.step", "id": "", "run_id": "r", "created_at": 1_750_000_000})
        return Event(body.encode(), [("dead_lettered", "missing_step_id")], [None])

    def _foreign(self) -> Event:
        if self._chance.random() < 0.5:
            return Event(None, [("ignored", "tombstone")], [None])
        return Event(b'{"event":"done","data":"[DONE]"}', [("ignored", "stream_control")], [None])

    def _page(self) -> Event:
        """Return a record of several steps, each once."""
        states = [self._next_state() for _ in range(self._chance.randint(2, 3))]
        event = self._stored(list({state[0]: state for state in states}.values()))
        self._past.append(event)
        return event

    def _repeat(self) -> Event:
        if not self._past:
            return self._foreign()
        return self._chance.choice(self._past)

    def _next_state(self) -> tuple[str, int, str]:
        """Return step id, creation in seconds, and status: mostly the next in a life, at times out of order."""
        chance = self._chance
        if not self._open or (len(self._open) < 4 and chance.random() < 0.5):
            self._made += 1
            bad = SPOILED if self._made % 2 else POISON
            prefix = bad if chance.random() < self._mix.poison else "step"
            life = ["in_progress", chance.choice(TERMINAL)]
            if chance.random() < 0.3:
                life.reverse()
            if chance.random() < 0.15:
                life.append(chance.choice(TERMINAL))
            created = int(EPOCH) - 3_600 + self._made
            self._open.append((f"{prefix}_{self._partition}_{self._made}", created, life))
        slot = int(chance.random() * len(self._open))
        step, created, life = self._open[slot]
        status = life.pop(0)
        if not life:
            del self._open[slot]
        return step, created, status

    def _stored(self, states: list[tuple[str, int, str]]) -> Event:
        event = Event(b"")
        bodies = []
        for step, created, status in states:
            ended = created + 2 + len(status) if status in TERMINAL else None
            bodies.append(_body(step, created, status, ended))
            if is_refused(step, status):
                event.rows.append(("dead_lettered", "refused_by_sink"))
                event.steps.append(None)
                continue
            event.rows.append(("stored", ""))
            event.steps.append(Sighting(("thread_1", f"run_{step}", step), status, (ended or created) * 1_000))
        page = {"object": "list", "data": bodies, "first_id": "a", "last_id": "b", "has_more": False}
        event.value = json.dumps(page if len(bodies) > 1 else bodies[0]).encode()
        return event


def _body(step: str, created: int, status: str, ended: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": step,
        "object": "thread.run.step",
        "created_at": created,
        "run_id": f"run_{step}",
        "assistant_id": "asst_1",
        "thread_id": "thread_1",
        "type": "message_creation",
        "status": status,
        "step_details": {"type": "message_creation", "message_creation": {"message_id": "msg_1"}},
    }
    if ended is not None:
        body[f"{status}_at"] = ended
    return body
