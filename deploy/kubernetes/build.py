"""Wraps the rules of deploy/prometheus into the object that the Prometheus Operator loads.

    python -m deploy.kubernetes.build            write the file
    python -m deploy.kubernetes.build --check    exit 1 if the file is not what this code builds

Kustomize cannot put the content of one file into a field of another; committed, so that a cluster needs no Python.
For other objectives or addresses run `python -m deploy.prometheus.build` with its options first, then this.
"""

import sys
from pathlib import Path
from typing import Final

RULES: Final = Path(__file__).parent.parent / "prometheus" / "runstep.rules.yml"
TARGET: Final = Path(__file__).parent / "components" / "monitoring" / "prometheusrule.yaml"
_HEAD: Final = """\
# The rules of deploy/prometheus/runstep.rules.yml, wrapped by
#     python -m deploy.kubernetes.build
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: runstep
  labels:
    app.kubernetes.io/name: runstep
spec:
"""


def render() -> str:
    """Return the object as text: the rules as they are, two columns further in."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return _HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines[lines.index("groups:") :])


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` compare it; return the exit code."""
    if arguments == ["--check"]:
        return 0 if TARGET.exists() and TARGET.read_text(encoding="utf-8") == render() else 1
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
