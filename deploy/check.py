"""Checks the production deployment files without a cluster or a container daemon: ``python -m somagent.deploy.check``.

The chart is rendered by the real helm and held against Kubernetes' schemas; the compose file is loaded by Compose's own
loader; promtool parses the alerts and runs their tests. All three are built from the Go module proxy when they are
neither on PATH nor in the cache. Ends with 1 when anything is wrong.
"""

from __future__ import annotations

import sys

from somagent.deploy.checks.alerts import check_alerts
from somagent.deploy.checks.chart import check_chart
from somagent.deploy.checks.compose import check_compose
from somagent.deploy.checks.dockerfile import check_dockerfile
from somagent.deploy.checks.report import Report
from somagent.domain.errors import SomaError

CHECKS = (check_dockerfile, check_compose, check_alerts, check_chart)


def main() -> int:
    """Runs every check, also after one has found a fault; 0 when there is none."""
    report = Report()
    for check in CHECKS:
        try:
            check(report)
        except SomaError as error:
            report.fault(check.__name__, error.detail)
    if report.faults:
        report.say(f"{len(report.faults)} faults:")
        for fault in report.faults:
            report.say(f"  {fault}")
        return 1
    report.say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
