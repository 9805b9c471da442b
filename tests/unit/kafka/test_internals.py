"""The private parts of kafka-python: used in three files only, and missed by name before the daemon connects."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.coordinator.base import BaseCoordinator
from kafka.coordinator.consumer import ConsumerCoordinator
from structlog.testing import capture_logs

import pipeline
from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError
from pipeline.kafka import connection_internals, decoder_internals, group_internals, internals
from pipeline.kafka.internals import TESTED_WITH, Need, missing
from pipeline.kafka.record_batches import PartitionRecords, install
from pipeline.kafka.source import KafkaSource

PACKAGE = Path(pipeline.__file__).parent
MODULES = (internals, connection_internals, group_internals, decoder_internals)
INTERNALS = {Path(str(module.__file__)) for module in MODULES}
NEEDED = tuple(need for module in MODULES for need in module.NEEDED)
OTHERS = sorted(set(PACKAGE.rglob("*.py")) - INTERNALS)
PUBLIC = {"kafka", "kafka.admin", "kafka.errors", "kafka.structs", "kafka.coordinator.assignors.cooperative_sticky"}
"""What kafka-python documents."""
OF_TUPLES = {"_replace", "_asdict", "_fields", "_make", "_field_defaults"}
OF_PYTHON = {("sys", "_current_frames"), ("os", "_exit")}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in OF_TUPLES


def reached_into(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each private attribute of anything but the object itself: of what, and which."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in {"self", "cls", "super()"}:
                yield owner, node.attr


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def named(needs: tuple[Need, ...]) -> set[str]:
    return {name for need in needs for name in need.names.split()}


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_reaches_into_private_parts(path: Path) -> None:
    tree = parsed(path)
    assert set(reached_into(tree)) <= OF_PYTHON
    assert {name for name in imported(tree) if name.partition(".")[0] == "kafka"} <= PUBLIC


@pytest.mark.parametrize(
    "path", [path for path in OTHERS if path.is_relative_to(PACKAGE / "kafka")], ids=lambda p: p.name
)
def test_no_class_uses_or_overrides_what_it_inherits_of_the_clients_private_parts(path: Path) -> None:
    tree = parsed(path)
    clients = named(NEEDED)
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    fields = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and private(node.attr)}
    assert used <= own | methods | fields
    assert not {name for name in methods if private(name)} & clients


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_self_test_knows_every_private_part_that_is_used(module: Any) -> None:
    tree = parsed(Path(module.__file__))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and private(node.attr)}
    assert used
    assert used <= named(module.NEEDED)


def test_the_pinned_client_has_all_that_is_needed() -> None:
    assert missing(NEEDED) == []
    internals.require(NEEDED)
    assert kafka.__version__ == TESTED_WITH
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert f"kafka-python=={TESTED_WITH}" in project["dependencies"]


def test_what_a_newer_client_lacks_is_named_and_the_daemon_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SubscriptionState, "seek")
    monkeypatch.setattr(ConsumerCoordinator, "join_group_async", lambda _: None)
    monkeypatch.setattr(kafka, "__version__", "3.9.0")
    source = KafkaSource(lambda: KafkaSettings(bootstrap_servers=("127.0.0.1:1",)), 1)
    parts = "ConsumerCoordinator.join_group_async, SubscriptionState.seek"
    with pytest.raises(ConfigError, match=rf"kafka-python 3\.9\.0 lacks .*: {re.escape(parts)}; .*{TESTED_WITH}"):
        source.poll(30, 1)
    source.close()


def test_what_the_constructor_does_not_set_any_more_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseCoordinator, "__init__", lambda _: None)
    assert missing(internals.NEEDED) == [
        f"ConsumerCoordinator.{name}" for name in ("_join_task", "_manager", "rejoining", "state")
    ]


def test_without_the_parts_of_the_decoder_the_client_decodes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        _fetcher = Fetcher.__new__(Fetcher)

    consumer = Consumer()
    install(consumer)
    assert consumer._fetcher.PartitionRecords.func is PartitionRecords
    consumer._fetcher.PartitionRecords = Fetcher.PartitionRecords
    monkeypatch.delattr(Fetcher.PartitionRecords, "_is_batch_aborted")
    with capture_logs() as logged:
        install(consumer)
    assert consumer._fetcher.PartitionRecords is Fetcher.PartitionRecords
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("decoder_fallback", "warning")
    assert "PartitionRecords._is_batch_aborted" in line["cause"]
    assert TESTED_WITH in line["cause"]
