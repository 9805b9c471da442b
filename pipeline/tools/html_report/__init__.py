"""The report page: one HTML file that shows what the dashboards show, for people without Grafana.

In three parts: what is asked (`questions`, a `.sql` file a question), how the answers are drawn (`sections`, of
`figures` and `tables`), how they become one file that needs nothing but a browser (`document`). All but the asking and
the writing is pure.
"""

from pipeline.tools.html_report.document import need_library, need_place, write
from pipeline.tools.html_report.period import Period
from pipeline.tools.html_report.questions import extent
from pipeline.tools.html_report.report import report_on

__all__ = ["Period", "extent", "need_library", "need_place", "report_on", "write"]
