"""`/status` as JSON, to the letter: of one process, of workers, and what a reader makes of an answer from elsewhere."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from pipeline.config import Settings
from pipeline.daemon.app import Pipeline
from pipeline.endpoints.status import BufferStatus, PartitionStatus, ProcessStatus, SinkStatus, Status
from pipeline.metrics import Metrics
from pipeline.workers.overview import Overview

STARTING = """\
{
  "state": "starting",
  "causes": [
    "the daemon is starting",
    "Kafka was not reached yet",
    "ClickHouse was not reached yet"
  ],
  "remarks": [],
  "partitions": {},
  "buffer": {
    "rows": 0,
    "writing": false
  },
  "sink": {
    "available": false,
    "cause": "ClickHouse was not reached yet",
    "breaker": "closed",
    "failures_in_a_row": 0,
    "most_rows": null,
    "most_rows_cause": null,
    "pending_migrations": []
  },
  "halted": {},
  "last_error": {},
  "counts": {
    "stored": 0,
    "dead_lettered": 0,
    "ignored": 0
  }
}
"""

RUNNING = ProcessStatus(
    state="waiting",
    causes=["ClickHouse is away"],
    partitions={"steps/0": PartitionStatus(position=7, committed=None, lag=-1)},
    buffer=BufferStatus(rows=3, writing=True),
    sink=SinkStatus(available=False, cause="ClickHouse is away", breaker="open", failures_in_a_row=4, most_rows=500),
    halted={"steps/1": "no codec\ncan read it"},
    last_error={"transient": "ClickHouse is away"},
    counts={"stored": 9},
)

OWN = """
  "partitions": {
    "steps/0": {
      "position": 7,
      "committed": null,
      "lag": -1
    }
  },
  "buffer": {
    "rows": 3,
    "writing": true
  },
  "sink": {
    "available": false,
    "cause": "ClickHouse is away",
    "breaker": "open",
    "failures_in_a_row": 4,
    "most_rows": 500
  },
  "halted": {
    "steps/1": "no codec\\ncan read it"
  },
  "last_error": {
    "transient": "ClickHouse is away"
  },
  "counts": {
    "stored": 9
  }"""

WORKERS = """,
  "workers": [
    {
      "worker": "1",
      "pid": 11,
      "heard_seconds_ago": 0.3,
      "state": "waiting",
      "causes": [
        "ClickHouse is away"
      ],OWN
    },
    {
      "worker": "2",
      "pid": 12,
      "heard_seconds_ago": 1.0,
      "state": "starting"
    },
    {
      "worker": "3",
      "pid": null,
      "state": "is not started yet"
    }
  ]
}
"""


class _Child(SimpleNamespace):
    """A worker process as the overview sees it."""

    def silent_for(self) -> float:
        return float(self.silent)

    def is_responsive(self) -> bool:
        return False


def _child(name: str, pid: int, silent: float, report: dict[str, Any] | None) -> Any:
    return _Child(name=name, pid=pid, silent=silent, report=report)


def test_one_process_that_starts() -> None:
    assert Pipeline(Settings(), CollectorRegistry()).status().json_text() == STARTING


def test_one_process_with_every_field_set() -> None:
    assert (
        RUNNING.json_text() == '{\n  "state": "waiting",\n  "causes": [\n    "ClickHouse is away"\n  ],' + OWN + "\n}\n"
    )


def test_workers_come_one_by_one_below_the_whole() -> None:
    overview = Overview(["1", "2", "3"], 60.0)
    report = {
        "alive": None,
        "status": pickle.loads(pickle.dumps(RUNNING)),  # noqa: S301 - as through the pipe
        "metrics": Metrics(CollectorRegistry(), (1.0,)).snapshot(),
    }
    overview.add(_child("1", 11, 0.3, report))
    overview.add(_child("2", 12, 1.0, None))
    overview.state = "running"
    status = overview.status().json_text()
    causes = ["worker 1: ClickHouse is away", "worker 2: is starting", "worker 3: is not started yet"]
    head = '{\n  "state": "waiting",\n  "causes": [\n    ' + ",\n    ".join(f'"{cause}"' for cause in causes) + "\n  ],"
    head += '\n  "remarks": [],'
    whole = OWN.replace('"cause": "', '"cause": "worker 1: ').replace('"stored": 9', "COUNTS")
    indented = OWN.replace("\n", "\n    ")
    counts = '"stored": 0,\n    "dead_lettered": 0,\n    "ignored": 0'
    assert status == head + whole.replace("COUNTS", counts) + WORKERS.replace("OWN", indented)


def test_the_sink_of_no_worker_is_not_available() -> None:
    status = Overview(["1"], 60.0).status().json_text()
    assert '"sink": {\n    "available": false,\n    "cause": null\n  }' in status


def test_what_is_read_is_fit_for_a_terminal() -> None:
    sent = RUNNING.model_copy(update={"partitions": {}, "causes": ["\x1b[2Jgone"]})
    read = Status.read(sent.json_text())
    assert read.causes == ["␛[2Jgone"]
    assert read.halted == {"steps/1": "no codec␊can read it"}
    assert read.workers == []


@pytest.mark.parametrize("page", ["", "[]", "{}", '{"state": 5}', '{"state": "running", "counts": {"stored": -1}}'])
def test_what_no_daemon_says_is_refused(page: str) -> None:
    with pytest.raises(ValidationError):
        Status.read(page)
