"""Pictures of the dashboards, from a real run, in Grafana's own components: see README.md beside this file."""
