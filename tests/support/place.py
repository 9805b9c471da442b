"""A place to run: the settings of one pipeline, `runstep` as processes with them, and all examples through it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.servers.addresses import KafkaAddress
from tests.support.daemon import Daemon
from tests.support.delivery import Sent, produce
from tests.support.expectations import COLUMNS, OUTCOMES, TIMES, Columns, examples, observed

# Times in milliseconds, since each form of output writes them in its own way.
_SELECTED: Final = ", ".join(f"toUnixTimestamp64Milli({name}) AS {name}" if name in TIMES else name for name in COLUMNS)


class Place:
    """The commands of `runstep` with one environment, see `daemon.environment`, in one folder."""

    def __init__(self, kafka: KafkaAddress, topic: str, variables: Mapping[str, str], folder: Path) -> None:
        self.kafka = kafka
        self.topic = topic
        self.variables = variables
        self.folder = folder

    def runstep(self, *arguments: str) -> str:
        """Run a command that has to end with 0, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        return [json.loads(line) for line in self.runstep("query", sql, "--format", "jsonl").splitlines()]

    def deliver_all_examples(self) -> None:
        """Send them through a daemon that is stopped then, and compare what is stored with what people wrote."""
        sent = list(examples())
        offsets = produce(self.kafka, self.topic, [Sent(one.name, one.value) for one in sent])
        with closing(Daemon(self.kafka, self.topic, self.variables)) as daemon:
            daemon.start()
            daemon.wait_until_accounted(120)
            daemon.stop()
        ledger = self.rows("SELECT kafka_offset, step_index, outcome, reason FROM run_step_ledger FINAL")
        assert {(int(row["kafka_offset"]), row["step_index"]): (row["outcome"], row["reason"]) for row in ledger} == {
            (offsets[one.name], index): (OUTCOMES[reason], reason)
            for one in sent
            for index, reason in enumerate(one.reasons)
        }
        wanted = {_key(row): row for one in sent for row in one.verdicts if isinstance(row, dict)}
        stored = self.rows(f"SELECT {_SELECTED} FROM run_steps_current")  # noqa: S608 - names of columns
        assert {_key(row): observed(row) for row in stored} == wanted


def _key(row: Columns) -> tuple[str, str]:
    return row["run_id"], row["step_id"]
