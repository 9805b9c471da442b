"""A real Prometheus that scrapes what a test asks for, and promtool."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.debian_packages import program
from tests.servers.process import free_port
from tests.servers.server import Home, Server

CONFIG = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}
rule_files: {rules}
scrape_configs:
  - job_name: tests
    file_sd_configs: [{{files: ["{targets}/*.json"], refresh_interval: 1s}}]
"""


@dataclass(frozen=True)
class PrometheusAddress:
    """A running Prometheus: query it, and name what to scrape."""

    url: str
    targets: Path

    def scrape(self, target: str, job: str) -> None:
        """Have `http://{target}/metrics` scraped from now on with this `job` label, unique to the test.

        The first scrape comes within about 5 s: Prometheus looks at its targets no more often.
        """
        listing = self.targets / f"{job}.json"
        staging = listing.with_suffix(".part")
        staging.write_text(json.dumps([{"targets": [target], "labels": {"job": job}}]))
        staging.rename(listing)

    def forget(self, job: str) -> None:
        """Stop scraping; what was stored stays."""
        (self.targets / f"{job}.json").unlink(missing_ok=True)

    def wait_for_scrape(self, job: str, timeout: float = 30.0) -> None:
        """Wait for a successful scrape, begun after this call, of each target that is up; `TimeoutError` without it."""
        called = time.time()
        deadline = time.monotonic() + timeout
        # Of anything but a plain selector, timestamp() gives the time of the query.
        up = f'up{{job="{job}"}}'
        expression = f"timestamp({up}) and {up} == 1"
        while time.monotonic() < deadline:
            scraped = [float(sample["value"][1]) for sample in self.query(expression)]
            if scraped and min(scraped) > called:
                return
            time.sleep(0.1)
        raise TimeoutError(f"prometheus had no successful scrape of all of job {job} within {timeout:.0f} s")

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Evaluate an expression now or then (epoch seconds): a list of `{metric: labels, value: [time, text]}`."""
        moment = {} if at is None else {"time": str(at)}
        return list(self._ask("query", query=expression, **moment)["result"])

    def query_range(self, expression: str, start: float, end: float, step: str = "1s") -> list[dict[str, Any]]:
        """Evaluate an expression over time (epoch seconds): a list of `{metric, values}`."""
        answer = self._ask("query_range", query=expression, start=str(start), end=str(end), step=step)
        return list(answer["result"])

    def query_exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series in an expression: a list of `{seriesLabels, exemplars}`."""
        return list(self._ask("query_exemplars", query=expression, start=str(start), end=str(end)))

    def value(self, expression: str) -> float:
        """Return the one number that an expression gives; `LookupError` when it gives none or several."""
        result = self.query(expression)
        if len(result) != 1:
            raise LookupError(f"{expression} gives {len(result)} series")
        return float(result[0]["value"][1])

    def ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):  # noqa: S310 - always http
                return True
        except OSError:
            return False

    def _ask(self, endpoint: str, **parameters: str) -> Any:
        address = f"{self.url}/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - always http
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"prometheus refused {parameters}: {error.read().decode()}") from None


class PrometheusServer(Server):
    """One server; `address` asks and commands it. Exemplars are stored.

    Args:
        rules: rule files to evaluate.
        interval: of scrapes and rules, in Prometheus' notation.
        home: where it lives; a temporary folder by default.
    """

    name = "prometheus"

    def __init__(self, *, rules: Iterable[Path] = (), interval: str = "500ms", home: Home | None = None) -> None:
        super().__init__(home)
        self.rules = [str(path) for path in rules]
        self.interval = interval
        self.port = free_port()
        self.address = PrometheusAddress(f"http://127.0.0.1:{self.port}", self.folder / "targets")

    def _command(self) -> list[str]:
        self.address.targets.mkdir(exist_ok=True)
        config = self.folder / "prometheus.yml"
        config.write_text(
            CONFIG.format(interval=self.interval, rules=json.dumps(self.rules), targets=self.address.targets)
        )
        return [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]

    def _ready(self) -> bool:
        return self.address.ready()


def promtool(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; the caller looks at `returncode`, `stdout`, `stderr`.

    `promtool("check", "metrics", stdin=text)` takes the text format only, not OpenMetrics, and answers 3 to findings.
    """
    return subprocess.run(
        [program("promtool"), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
    )
