// node check_models.cjs NODE_MODULES < objects.json: each object against kubernetes-models; complaints on stderr, exit code 1.
const path = require("node:path");

const folder = process.argv[2];
const packages = {
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "keda.sh": "@kubernetes-models/keda",
};
const withoutModels = new Set(["kubeflow.org", "serving.kserve.io"]);

let failed = false;
for (const object of JSON.parse(require("node:fs").readFileSync(0, "utf8"))) {
  const [version, group] = object.apiVersion.split("/").reverse();
  if (withoutModels.has(group)) continue;
  const file = path.join(folder, packages[group] ?? "kubernetes-models", group ?? "", version, object.kind);
  try {
    const Model = require(file)[object.kind];
    new Model(object).validate();
  } catch (error) {
    failed = true;
    console.error(`${object.kind} ${object.metadata?.name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
