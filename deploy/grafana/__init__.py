"""The dashboards as code: `build` writes the JSON files that Grafana loads; nothing here runs beside the daemon.

`boards/` has a file for each dashboard, named as its JSON file, and one for each long row of panels. `queries/` has
the SQL and the selectors that several boards share. `style` and the two files `*_panels` say how panels look,
`navigation` how the boards link to each other, `variables` what a reader can select.
"""
