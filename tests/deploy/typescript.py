"""The dashboard and the operator's objects against TypeScript types, which know every field that exists."""

import json
from pathlib import Path
from typing import Any

from tests.deploy import monitoring, tools
from tests.deploy.rendering import Object

PANEL_TYPES = {
    "timeseries": ("timeseries", "TimeSeries"),
    "stat": ("stat", "Stat"),
    "heatmap": ("heatmap", "Heatmap"),
    "table": ("table", "Table"),
}
MODELS = {
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
}
_PRELUDE = """\
import type { AnnotationQuery, Dashboard, GraphFieldConfig } from "@grafana/schema";
// JSON has the values of enumerations where the types have their names.
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// What Prometheus adds to an annotation is in no published type.
type Annotation = Plain<AnnotationQuery> & { expr: string; step?: string; titleFormat?: string; textFormat?: string };
type Checked = Omit<Plain<Dashboard>, "annotations"> & { annotations: { list: Annotation[] } };
"""


def dashboard_problems(root: Path, folder: Path) -> list[str]:
    document = json.loads((root / monitoring.DASHBOARD).read_text())
    lines = [_PRELUDE, f"export const dashboard: Checked = {json.dumps(document, indent=1)};"]
    for kind, (module, title) in PANEL_TYPES.items():
        path = f"./node_modules/@grafana/schema/dist/esm/raw/composable/{module}/panelcfg/x/{title}PanelCfg_types.gen.js"
        lines.append(f'import type {{ Options as {title}Options }} from "{path}";')
        for panel in (p for p in document["panels"] if p["type"] == kind):
            options = json.dumps(panel["options"])
            lines.append(f"export const options{panel['id']}: Plain<{title}Options> = {options};")
            if kind == "timeseries":
                custom = json.dumps(panel["fieldConfig"]["defaults"]["custom"])
                lines.append(f"export const custom{panel['id']}: Plain<GraphFieldConfig> = {custom};")
    unknown = {panel["type"] for panel in document["panels"]} - {*PANEL_TYPES, "row"}
    found = [f"dashboard: no types for panels of type {kind}" for kind in sorted(unknown)]
    return found + _compile("\n".join(lines), folder / "dashboard.ts", "@grafana/schema")


def object_problems(objects: list[Object], folder: Path) -> list[str]:
    """Fields of custom kinds that do not exist; core kinds have strict schemas for that."""
    lines: list[str] = []
    for number, item in enumerate(o for o in objects if o["kind"] in MODELS):
        kind: Any = item["kind"]
        lines.append(f'import type {{ I{kind} as Type{number} }} from "{MODELS[kind]}";')
        lines.append(f"export const object{number}: Type{number} = {json.dumps(item)};")
    return _compile("\n".join(lines), folder / "objects.ts", "@kubernetes-models/keda")


def _compile(source: str, target: Path, package: str) -> list[str]:
    node = tools.find_node(package)
    target.write_text(source)
    (target.parent / "node_modules").unlink(missing_ok=True)
    (target.parent / "node_modules").symlink_to(tools.NODE_MODULES)
    compiler = tools.NODE_MODULES / "typescript/bin/tsc"
    flags = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext")
    resolution = ("--moduleResolution", "bundler", "--preserveSymlinks")
    return tools.problems_of(tools.run(node, compiler, *flags, *resolution, target.name, cwd=target.parent))
