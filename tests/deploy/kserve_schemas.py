"""KServe's own schemas of its kinds, small enough to be kept here: ``kserve_schemas.json``.

``python -m tests.deploy.kserve_schemas FOLDER RELEASE`` writes it from the custom resource definitions of a release,
``config/crd/full`` of https://github.com/kserve/kserve. Those are 2 MB, because each of a dozen frameworks repeats
the whole of a container; here what is the same stands once, without its descriptions. What the API server would drop
without a word, a field that is not in the schema, is a mistake here.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import tools
from tests.deploy.rendering import Object

GROUP = "serving.kserve.io"
TARGET = Path(__file__).with_name("kserve_schemas.json")
_FILES = ("inferenceservices", "servingruntimes", "clusterservingruntimes")
_WORTH_SHARING = 120
"""Letters of a schema from which on it is written once and referred to."""

Schema = dict[str, Any]


def problems(objects: list[Object], folder: Path) -> list[str]:
    """KServe's kinds among the objects against its schemas; writes to ``folder``."""
    files = []
    for item in objects:
        if item.get("apiVersion", "").startswith(f"{GROUP}/"):
            files.append(folder / f"{len(files)}-{item.get('kind')}.json")
            files[-1].write_text(json.dumps(item))
    if not files:
        return []
    return tools.problems_of(tools.run(tools.find("check-jsonschema"), "--schemafile", TARGET, *files))


def combined(definitions: list[Object], release: str) -> Schema:
    """One schema for all kinds: which one counts is decided by ``kind``."""
    kinds = {
        item["spec"]["names"]["kind"]: _of_kind(item["spec"]["group"], version)
        for item in definitions
        for version in item["spec"]["versions"]
        if version["served"]
    }
    shared = _Shared(list(kinds.values()))
    chosen = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": shared.referring(schema)}
        for kind, schema in kinds.items()
    ]
    return {
        "$comment": f"Written by kserve_schemas.py from the CRDs of KServe {release}, Copyright The KServe Authors, "
        "Apache-2.0",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": [*kinds]}},
        "allOf": chosen,
        "$defs": shared.definitions,
    }


def _of_kind(group: str, version: Object) -> Schema:
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["apiVersion"] = {"const": f"{group}/{version['name']}"}
    del schema["properties"]["status"]  # the controller's to write
    return schema


def _strict(node: Any, *, names: bool = False) -> Any:
    """Without what does not constrain; ``names`` where the keys are names of fields and no keywords."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {name: _strict(schema) for name, schema in node.items()}
    schema = {
        keyword: _strict(value, names=keyword == "properties")
        for keyword, value in node.items()
        if keyword not in ("description", "default", "format") and not keyword.startswith("x-kubernetes-")
    }
    if "properties" in schema and not node.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


class _Shared:
    """Schemas that occur more than once, by a name."""

    def __init__(self, schemas: list[Schema]) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[str, str] = {}
        self._seen: Counter[str] = Counter()
        for schema in schemas:
            self._count(schema)

    def referring(self, node: Any) -> Any:
        """With references in the place of what occurs more than once."""
        if isinstance(node, list):
            return [self.referring(item) for item in node]
        if not isinstance(node, dict):
            return node
        text = json.dumps(node, sort_keys=True)
        if not isinstance(node.get("type"), str) or len(text) < _WORTH_SHARING or self._seen[text] < 2:
            return {key: self.referring(value) for key, value in node.items()}
        if text not in self._names:
            name = self._names[text] = str(len(self._names))
            self.definitions[name] = {key: self.referring(value) for key, value in node.items()}
        return {"$ref": f"#/$defs/{self._names[text]}"}

    def _count(self, node: Any) -> None:
        if isinstance(node, dict):
            self._seen[json.dumps(node, sort_keys=True)] += 1
        if isinstance(node, dict | list):
            for item in node.values() if isinstance(node, dict) else node:
                self._count(item)


def main(folder: Path, release: str) -> None:
    definitions = [yaml.safe_load((folder / f"{GROUP}_{name}.yaml").read_text()) for name in _FILES]
    schema = combined(definitions, release)
    # A line for each definition, so that what a new release changes can be seen.
    lines = [f" {json.dumps(name)}: {json.dumps(each)}" for name, each in schema.pop("$defs").items()]
    head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in schema.items())
    TARGET.write_text("{" + head + '"$defs": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
