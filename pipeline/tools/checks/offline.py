"""What needs no service: the settings, and the packages that read compressed records."""

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping

from pipeline.config import Settings
from pipeline.config.relations import CODECS
from pipeline.tools.checks.finding import Finding, bad, fine, guarded


def offline_findings(settings: Settings, origins: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the state of settings that passed all their checks, and of each codec."""
    sources = sorted({origin.partition(":")[0] for origin in origins.values()})
    yield fine("settings", f"valid; {len(origins)} given by {', '.join(sources)}" if origins else "valid; all default")
    for name in CODECS:
        yield from guarded(f"package {name}", _codec(name), required=True)
    yield fine("dead-letter topic", f"{settings.dead_letter_topic} (by the settings)")


def _codec(name: str) -> Iterator[Finding]:
    package = name.partition(".")[0]
    subject = f"package {package}"
    try:
        importlib.import_module(name)
    except ImportError as error:
        yield bad(subject, f"cannot be imported: {error}", "install runstep with its dependencies")
        return
    distribution = "python-snappy" if package == "snappy" else package
    yield fine(subject, importlib.metadata.version(distribution))
