"""The named reports of `runstep query`: reads the `.sql` files of this folder, whose heads describe them.

    -- The steps that took longest.                      what it answers, in one sentence
    -- Group: latency                                     where --list shows it
    -- Set limit UInt32 = 25: how many rows               a parameter: name, type, default, meaning

Below the head follow notes on how to read the answer, and one statement without FORMAT. A report reads the views and
the ledger of the connection's database. Each has the placeholders `{since:DateTime64(3, 'UTC')}` and `{until:…}`, the
time range of the answer: from `since` until just before `until`, all time by default.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pipeline.tools.queries.parameters import ALL_TIME, Parameter

GROUPS: Final = ("steps", "latency", "errors", "runs", "tools", "tokens", "ingest")
"""The groups, in the order in which --list shows them."""

_SET: Final = re.compile(r"^-- Set (?P<name>\w+) (?P<type>\w+) = (?P<default>.*?): (?P<meaning>.+)$", re.MULTILINE)
_GROUP: Final = re.compile(r"^-- Group: (\w+)$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{(\w+):[^}]+\}")


@dataclass(frozen=True, slots=True)
class NamedReport:
    """A named query.

    Attributes:
        text: the file, with placeholders for its parameters.
        parameters: those that --set accepts, besides the time range.
    """

    name: str
    group: str
    description: str
    text: str
    parameters: tuple[Parameter, ...]

    @property
    def sql(self) -> str:
        """The SQL over all time with every parameter at its default, without placeholders."""
        return self.written_out(self.values(ALL_TIME, {}))

    def values(self, bounds: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return a value for every placeholder, as the server takes it.

        Args:
            bounds: `since` and `until`, see `time_bounds`.
            given: parameters by name, as the user typed them.

        Raises:
            ValueError: the report has no such parameter, or a value has the wrong type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(f"report {self.name} has no parameter {name!r}; {has}")
            known[name].check(value)
        return {**{parameter.name: parameter.default for parameter in self.parameters}, **bounds, **given}

    def written_out(self, values: Mapping[str, str]) -> str:
        """Return the SQL with the values in place of the placeholders, to be run by any client."""
        kinds = {parameter.name: parameter for parameter in self.parameters}
        return _PLACEHOLDER.sub(
            lambda found: (
                kinds[found[1]].literal(values[found[1]])
                if found[1] in kinds
                else f"toDateTime64('{values[found[1]]}', 3, 'UTC')"
            ),
            self.text,
        )


def reports() -> dict[str, NamedReport]:
    """Return all reports by name, group by group."""
    found = (entry for entry in files(__package__).iterdir() if entry.name.endswith(".sql"))
    read = (_report(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in found)
    return {report.name: report for report in sorted(read, key=lambda one: (GROUPS.index(one.group), one.name))}


def _report(name: str, text: str) -> NamedReport:
    group = _GROUP.search(text)
    if group is None:
        raise ValueError(f"{name}.sql names no group")
    parameters = tuple(Parameter(*found) for found in _SET.findall(text))
    return NamedReport(name, group[1], text.partition("\n")[0].removeprefix("--").strip(), text, parameters)
