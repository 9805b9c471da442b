"""The dashboards as code: `build` writes the JSON files that Grafana loads; nothing here runs beside the daemon."""
