"""A file for each dashboard: its rows and panels, with titles, descriptions and PromQL beside the panel."""
