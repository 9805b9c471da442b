"""`make pictures`: take the pictures of the dashboards, from a real run, into deploy/pictures.

python -m deploy.pictures.make                       about 20 minutes
python -m deploy.pictures.make --hold scene.json     and keep the servers until Ctrl-C
python -m deploy.pictures.make --scene scene.json    take the pictures of such a run again, after a change
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from deploy.pictures.make import browser, commands
from deploy.pictures.make.board import View, picture
from deploy.pictures.make.story import DATABASE, DAY, HOUR, Scene, played_run
from tests.servers.addresses import ClickHouseAddress
from tests.servers.cache import ServerUnavailable
from tests.support.dashboards import FILES, Range
from tests.support.paths import ROOT

FOLDER: Final = ROOT / "deploy" / "pictures"
SECONDS: Final = 720.0
LIVE: Final = frozenset({"run-steps-overview", "ingest-pipeline"})
"""The dashboards from Prometheus, which show the run; the others show a day of stored rows."""
EXAMPLE_RUN: Final = """
SELECT run_id
FROM run_steps_current
WHERE duration_ms IS NOT NULL
GROUP BY thread_id, run_id
HAVING countIf(status = 'failed' AND duration_ms > 2000 AND error_message != '') > 0
ORDER BY least(count(), 7) DESC, uniqArray(tool_names) DESC, sum(duration_ms), run_id
LIMIT 1
FORMAT JSON
"""


def take_all(scene: Scene, names: list[str], theme: str) -> None:
    """Take the pictures of the dashboards of these names, or of all."""
    folder = browser.build()
    chosen = _example_run(scene)
    if not names:
        commands.report(scene, FOLDER / "report.png")
    for path in FILES:
        if names and path.stem not in names:
            continue
        span = Range(scene.start, scene.end) if path.stem in LIVE else _whole_day(scene)
        target = FOLDER / f"{path.stem}.png"
        drawn = picture(path, scene, View(span, chosen), theme)
        browser.take(folder, drawn, target)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1024} KB")
        for one in drawn["panels"]:
            if "error" in one or _empty(one):
                print(f"  {one['panel']['title']}: {one.get('error', 'no data')}")


def glance(addresses: list[str]) -> None:
    """Take the picture of `runstep top`."""
    commands.top(addresses, FOLDER / "top.png")


def main() -> int:
    """Take the pictures that the arguments name; return the exit code."""
    arguments = _parser().parse_args()
    try:
        if arguments.scene:
            take_all(Scene.load(arguments.scene), arguments.names, arguments.theme)
            return 0
        with played_run(arguments.seconds, glance) as scene:
            if arguments.hold:
                scene.save(arguments.hold)
            take_all(scene, arguments.names, arguments.theme)
            if arguments.hold:
                print(f"the servers stay until Ctrl-C; {arguments.hold} describes the run", flush=True)
                with suppress(KeyboardInterrupt):
                    while True:
                        time.sleep(DAY)
    except (browser.PictureFailed, ServerUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m deploy.pictures.make", description="Take pictures of the dashboards.")
    parser.add_argument("names", nargs="*", help="file names of dashboards without .json; all by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the run lasts (720)")
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument(
        "--hold", type=Path, metavar="FILE", help="keep the servers after the pictures, and describe the run in FILE"
    )
    parser.add_argument("--scene", type=Path, metavar="FILE", help="use the run that FILE describes")
    return parser


def _whole_day(scene: Scene) -> Range:
    """Return the 24 full hours before the run, so that no bar of an hour is half an hour."""
    end = scene.start - scene.start % HOUR
    return Range(end - DAY, end)


def _example_run(scene: Scene) -> dict[str, str]:
    """Return a run with several steps, tools and a failure."""
    answer: dict[str, Any] = json.loads(ClickHouseAddress(scene.clickhouse).query(EXAMPLE_RUN, database=DATABASE))
    return dict(answer["data"][0])


def _empty(drawn: Mapping[str, Any]) -> bool:
    panel, answers = drawn["panel"], drawn["answers"]
    return bool(panel.get("targets")) and not any(field["values"] for one in answers for field in one["fields"])


if __name__ == "__main__":
    sys.exit(main())
