"""Checks of a PromQL expression: which series it selects, and whether the daemon has such series."""

from collections.abc import Iterator
from typing import Any, Final

import promql_parser

from pipeline.metrics.catalogue import SPECS, Spec

_SUFFIXES: Final = ("_bucket", "_sum", "_count")
_SERIES: Final[dict[str, Spec]] = {
    spec.name + suffix: spec for spec in SPECS for suffix in (_SUFFIXES if spec.kind == "histogram" else ("",))
}
# Prometheus adds the first two; a supervisor of several workers the third.
_ADDED: Final = frozenset({"job", "instance", "worker"})
_OF_A_RATE: Final = frozenset({"rate", "irate", "increase", "resets"})


def children(expr: Any) -> Iterator[Any]:
    """Yield what an expression is made of."""
    for attribute in ("expr", "lhs", "rhs", "param"):
        child = getattr(expr, attribute, None)
        if isinstance(child, promql_parser.Expr):
            yield child
    yield from getattr(expr, "args", ())


def calls(expr: Any, inside: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield every selector with the functions around it."""
    if isinstance(expr, promql_parser.MatrixSelector):
        yield expr.vector_selector, inside
    elif isinstance(expr, promql_parser.VectorSelector):
        yield expr, inside
    name = expr.func.name if isinstance(expr, promql_parser.Call) else None
    for child in children(expr):
        yield from calls(child, (*inside, name) if name else inside)


def selectors(expr: Any) -> list[Any]:
    """Return every selector of an expression."""
    return [selector for selector, _ in calls(expr)]


def counters_outside_a_rate(expr: Any) -> list[str]:
    """Return the counters whose bare value is used; it falls to 0 with each restart."""
    return [
        selector.name
        for selector, inside in calls(expr)
        if selector.name.endswith("_total") and not _OF_A_RATE.intersection(inside)
    ]


def misnamed(expr: Any, recorded: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield what the daemon does not have: a metric, a label of it, or a value that the label never has."""
    for selector in selectors(expr):
        spec = _SERIES.get(selector.name)
        if spec is None:
            if selector.name not in recorded and selector.name != "up":
                yield f"no metric {selector.name}"
            continue
        own = {*spec.labels, "le"} if spec.kind == "histogram" else set(spec.labels)
        for matcher in selector.matchers.matchers:
            if matcher.name not in own | _ADDED:
                yield f"{selector.name} has no label {matcher.name}"
            elif matcher.name in spec.labels:
                yield from _unknown_values(spec, matcher)


def _unknown_values(spec: Spec, matcher: Any) -> Iterator[str]:
    vocabulary = spec.labels[matcher.name]
    if vocabulary is None or "*" in matcher.value:
        return
    for value in matcher.value.split("|"):
        if value not in vocabulary:
            yield f"{spec.name}: {matcher.name} is never {value!r}"
