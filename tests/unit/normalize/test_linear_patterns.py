"""No text costs more than its length: every pattern of the hot path is linear on what it likes least.

The hostile texts are generated from the patterns, so a new pattern is tested by being there. Bounds are generous and
in processor time against a plain search of the same moment: a crowded machine moves both.
"""

import importlib
import pkgutil
import random
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

import pipeline.normalize
from pipeline import redaction
from pipeline.normalize import error_fingerprints, step_errors
from pipeline.normalize.error_categories import category_of
from tests.support.hostile_fills import Fill, dearest, fills, searches

MODULES: Final = [
    *(info.name for info in pkgutil.iter_modules(pipeline.normalize.__path__, "pipeline.normalize.")),
    *(info.name for info in pkgutil.iter_modules(redaction.__path__, "pipeline.redaction.")),
    "pipeline.logs",
    "pipeline.clickhouse.error_classes",
]
SEARCHES: Final = {
    f"{module.removeprefix('pipeline.')}.{name}": (pattern, use)
    for module in MODULES
    for name, pattern, use in searches(importlib.import_module(module))
}

GROWTH: Final = 9
"""For four times the length: linear is 4, the square is 16."""
OF_A_PATTERN: Final = 100
"""Times what a plain search takes for a character, about 10 ns: the dearest honest pattern takes 30."""
OF_ALL: Final = 200
"""About 2 us a character, for everything that is done with a text."""
MEASURES: Final = 6


def assert_within(relative: float, use: Callable[[str], Any], candidates: list[Fill]) -> None:
    """Measure again what seems too dear: other work on the machine makes a measure larger, never smaller."""
    costs = dearest(use, candidates)
    for _ in range(MEASURES - 1):
        if costs.growth <= GROWTH and costs.relative <= relative:
            return
        costs = dearest(use, candidates)
    assert costs.growth <= GROWTH, costs
    assert costs.relative <= relative, costs


def test_patterns_are_found_where_they_are() -> None:
    found = " ".join(SEARCHES)
    assert len(SEARCHES) > 30
    assert {"_host", "_heads", "_headed_key", "_statuses", "_calendar", "_TRAILER"} <= {
        name.split(".")[-1] for name in SEARCHES
    }
    assert "normalize.error_categories" in found


@pytest.mark.parametrize("name", SEARCHES)
def test_a_pattern_is_linear_on_what_it_likes_least(name: str) -> None:
    pattern, use = SEARCHES[name]
    assert_within(OF_A_PATTERN, use, fills(pattern))


LABELS: Final = "a-" * 31 + "a."
KNOWN: Final[list[Fill]] = [
    *(
        ("", unit)
        for unit in (
            LABELS,
            " 500",
            ": 500 a",
            " sig=a&",
            "token=a ",
            "@a.",
            "a@a.aa",
            "a.",
            "a",
            "sk-",
            "key ",
            "org-",
        )
    ),
    *(("", unit) for unit in ("://a:", "://", "code 500 ", "1:", "https://.", "/subscriptions/", "[redacted:", "eyJ.")),
]
"""Texts that were slow once, or look as if they could be."""


@cache
def mixtures(number: int) -> list[Fill]:
    """Return near matches of several patterns at once, the same each time."""
    draw = random.Random(2)
    units = sorted({unit for pattern, _ in SEARCHES.values() for _, unit in fills(pattern, 0) if len(unit) < 64})
    return [("", "".join(draw.choices(units, k=draw.randint(1, 3)))) for _ in range(number)]


WAYS: Final[dict[str, Callable[[str], Any]]] = {
    "fingerprint": error_fingerprints.fingerprint,
    "category": lambda text: category_of("server_error", text),
    "redaction": redaction.redact,
    "error": lambda text: step_errors._judged("server_error", text, 8_192),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_done_with_a_text_is_linear_on_mixtures(way: str) -> None:
    assert_within(OF_ALL, WAYS[way], KNOWN + mixtures(200))
