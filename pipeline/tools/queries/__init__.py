"""The named reports of `runstep query`: a `.sql` file each, which says in its head what it answers and can be told.

    -- The steps that took longest.                      the question, in one sentence
    -- Group: latency                                     under which --list shows it
    -- Set limit UInt32 = 25: how many rows               a parameter, its type, its default, and what it means

then what the answer rests on, and one statement without FORMAT. They read the views and the ledger of the connection's
database. `{since:DateTime64(3, 'UTC')}` and `{until:…}` are everywhere: the span that the answer is about, from since
and before until, all time unless told otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pipeline.tools.queries.values import EVER, Parameter

GROUPS: Final = ("steps", "latency", "errors", "runs", "tools", "tokens", "ingest")
"""In the order in which they are shown."""

_SET: Final = re.compile(r"^-- Set (?P<name>\w+) (?P<type>\w+) = (?P<default>.*?): (?P<meaning>.+)$", re.MULTILINE)
_GROUP: Final = re.compile(r"^-- Group: (\w+)$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{(\w+):[^}]+\}")


@dataclass(frozen=True, slots=True)
class Report:
    """A question that is asked often.

    Attributes:
        text: the file, with placeholders for its parameters.
        parameters: what can be set, beside the span.
    """

    name: str
    group: str
    description: str
    text: str
    parameters: tuple[Parameter, ...]

    @property
    def sql(self) -> str:
        """The SQL of all time with every parameter at its default, which runs anywhere."""
        return self.written_out(self.values(EVER, {}))

    def values(self, span: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return a value for every placeholder, as the server takes it.

        Args:
            span: `since` and `until`, see `values.span`.
            given: parameters by name, as typed.

        Raises:
            ValueError: it has no such parameter, or that is no value of its type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(f"report {self.name} has no parameter {name!r}; {has}")
            known[name].check(value)
        return {**{parameter.name: parameter.default for parameter in self.parameters}, **span, **given}

    def written_out(self, values: Mapping[str, str]) -> str:
        """Return the SQL with the values in the place of their placeholders, to be taken elsewhere."""
        kinds = {parameter.name: parameter for parameter in self.parameters}
        return _PLACEHOLDER.sub(
            lambda found: (
                kinds[found[1]].literal(values[found[1]])
                if found[1] in kinds
                else f"toDateTime64('{values[found[1]]}', 3, 'UTC')"
            ),
            self.text,
        )


def reports() -> dict[str, Report]:
    """Return all reports by name, group by group."""
    found = (entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql"))
    read = (_report(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in found)
    return {report.name: report for report in sorted(read, key=lambda one: (GROUPS.index(one.group), one.name))}


def _report(name: str, text: str) -> Report:
    group = _GROUP.search(text)
    if group is None:
        raise ValueError(f"{name}.sql names no group")
    parameters = tuple(Parameter(*found) for found in _SET.findall(text))
    return Report(name, group[1], text.partition("\n")[0].removeprefix("--").strip(), text, parameters)
