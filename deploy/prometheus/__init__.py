"""The rules as code: `build` writes the file that Prometheus loads; nothing here runs beside the daemon."""
