"""`runstep demo` as a new user meets it: a process, an account that adds up, data that can be asked afterwards."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.html_pages import ReadPage
from tests.support.paths import ROOT

COMMAND = [sys.executable, "-m", "pipeline.cli"]


def environment() -> dict[str, str]:
    """Return an environment that would lead the real pipeline elsewhere; the demo must not care."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(ROOT),
        "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": "203.0.113.1:9092",
        "RUNSTEP_KAFKA__TOPICS": "elsewhere",
    }


def runstep(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def number_before(words: str, output: str) -> int:
    """Return what the account at the end says."""
    found = re.search(rf"([\d,]+) +{re.escape(words)}", output.partition("Kafka and ledger")[2])
    assert found, f"no number before {words!r} in:\n{output}"
    return int(found[1].replace(",", ""))


def test_the_demo_accounts_for_every_event_and_its_data_can_be_asked(tmp_path):
    done = runstep(tmp_path, "demo", "--events", "5000", "--data", "shown", "--port", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every offset is accounted for, exactly once." in done.stdout
    stored, rejected, ignored = (number_before(word, done.stdout) for word in ("stored", "dead-lettered", "ignored"))
    assert number_before("records in Kafka", done.stdout) == 5_000
    assert number_before("distinct offsets in the ledger", done.stdout) == stored + rejected + ignored == 5_000
    assert f"dead-lettered ({rejected:,} in the topic)" in done.stdout
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", done.stdout)
    for title in ("Steps", "Errors that occur most", "Slowest steps"):
        assert title in done.stdout

    sql = "SELECT outcome, uniqExact(kafka_partition, kafka_offset) AS records FROM run_step_ledger GROUP BY outcome"
    asked = runstep(tmp_path, "query", "--data", "shown", "--json", sql)
    assert asked.returncode == 0, asked.stderr
    counted = {row["outcome"]: int(row["records"]) for row in json.loads(asked.stdout)}
    assert counted == {"stored": stored, "dead_lettered": rejected, "ignored": ignored}

    assert "a page for the browser: shown/report.html" in done.stdout
    page = ReadPage((tmp_path / "shown" / "report.html").read_text(encoding="utf-8"))
    assert page.tiles["records"] == [
        "5,000",
        f"= {stored:,} stored + {rejected:,} dead-lettered + {ignored:,} ignored",
    ]

    again = runstep(tmp_path, "demo", "--events", "200", "--data", "shown", "--port", "0")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "now in shown.previous" in again.stdout
    assert runstep(tmp_path, "query", "--data", "shown.previous", "--json", sql).stdout == asked.stdout


def test_kept_running_it_serves_metrics_until_ctrl_c(tmp_path):
    arguments = ["demo", "--events", "300", "--data", "kept", "--port", "0", "--keep"]
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    output = ""
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        if "Ctrl-C" in line:
            break
    (address, *_) = re.findall(r"http://127\.0\.0\.1:\d+", output)
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310 - our own address
        assert "runstep_steps_total" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output + rest
    assert rest.count("Every offset is accounted for, exactly once.") == 1
    assert number_before("records in Kafka", rest) >= 300


def test_a_directory_it_did_not_make_is_left_alone(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("precious")
    done = runstep(tmp_path, "demo", "--data", "mine")
    assert (done.returncode, done.stdout) == (78, "")
    assert (
        done.stderr == "runstep: mine exists and was not made by `runstep demo`: name another directory with --data\n"
    )
    assert (mine / "letter.txt").read_text() == "precious"


def test_a_port_that_is_taken_is_named_in_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = runstep(tmp_path, "demo", "--events", "100", "--data", "d", "--port", port)
    assert done.returncode == 78
    assert port in done.stderr
    assert "Traceback" not in done.stderr
