"""Metric families: those that every Python process has, and the conversion of families to JSON data and back."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.samples import Exemplar, Sample

Plain: TypeAlias = list[dict[str, Any]]
"""Metric families as data for JSON."""


def register_process(registry: CollectorRegistry) -> None:
    """Register memory, CPU, file descriptors and garbage collection of this process, under their standard names."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


def plain(families: Iterable[Metric]) -> Plain:
    """Return families as data for JSON."""
    return [
        {
            "name": family.name,
            "kind": family.type,
            "help": family.documentation,
            "samples": [
                [sample.name, sample.labels, sample.value, list(sample.exemplar) if sample.exemplar else None]
                for sample in family.samples
            ],
        }
        for family in families
    ]


def restored(data: Plain) -> list[Metric]:
    """Return the families that `plain` converted."""
    families = []
    for entry in data:
        family = Metric(entry["name"], entry["help"], entry["kind"])
        family.samples = [
            Sample(name, labels, value, None, Exemplar(*exemplar) if exemplar else None)
            for name, labels, value, exemplar in entry["samples"]
        ]
        families.append(family)
    return families
