"""The SQL of the dashboards, and the PromQL selectors that several boards share."""
