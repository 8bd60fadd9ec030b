"""Writes ``prometheusrule.yaml`` from ``prometheus/rules.yml``: ``generate.py [--check]``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
HEADER = """\
# Written by generate.py from prometheus/rules.yml; change that file and run `make monitoring`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: vaeserve
  labels:
    app.kubernetes.io/name: vaeserve
spec:
"""


def prometheus_rule(rules: str) -> str:
    """The rules, indented under ``spec`` and without the comment on top."""
    body = rules[rules.index("groups:") :]
    return HEADER + "".join(f"  {line}" if line.strip() else line for line in body.splitlines(keepends=True))


def main() -> int:
    target = HERE / "prometheusrule.yaml"
    wanted = prometheus_rule((HERE / "prometheus/rules.yml").read_text())
    if "--check" not in sys.argv[1:]:
        target.write_text(wanted)
    elif not target.exists() or target.read_text() != wanted:
        sys.stderr.write(f"{target}: want what rules.yml gives; run make monitoring\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
