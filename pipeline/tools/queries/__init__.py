"""The named reports of `runstep query`: a `.sql` file for each, and the cookbook in README.md.

`report_catalogue` reads the files, `parameters` checks what the user sets.
"""

from pipeline.tools.queries.report_catalogue import NamedReport, reports

__all__ = ["NamedReport", "reports"]
