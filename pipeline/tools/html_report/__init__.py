"""The report page: one HTML file that shows what the dashboards show, for people without Grafana.

`page` is the whole of it. `page_queries` asks ClickHouse, a `.sql` file for each query; `tiles`, `steps`, `usage` and
`ingest` turn the answers into `plots` and `tables`; `document` makes one file of them that needs only a browser.
Everything but the asking and the writing is pure.
"""

from pipeline.tools.html_report.document import require_libraries, require_writable, write_page
from pipeline.tools.html_report.page import report_on
from pipeline.tools.html_report.page_queries import extent
from pipeline.tools.html_report.period import Period

__all__ = ["Period", "extent", "report_on", "require_libraries", "require_writable", "write_page"]
