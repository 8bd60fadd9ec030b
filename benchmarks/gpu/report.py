"""The verdicts of a check: ``check.json`` to be read by programs, ``check.md`` by people."""

from pathlib import Path
from typing import Any

from benchmarks.gpu.runner import Outcome, as_document
from benchmarks.gpu.step import write_json

_FIRST = ("card", "driver", "memory_mib", "commit", "began", "minutes", "seconds")


def add(document: dict[str, Any], outcome: Outcome, seconds: float, output: Path) -> None:
    """One more step that is over; ``seconds`` is how long all of it took so far."""
    document["steps"].append(as_document(outcome))
    document["seconds"] = seconds
    document["ok"] = all(step["verdict"] == "ok" for step in document["steps"])
    write(document, output)
    print(f"{outcome.step:9} {outcome.seconds:6.1f} s  {outcome.verdict:6} {outcome.reason}", flush=True)


def write(document: dict[str, Any], output: Path) -> None:
    write_json(output / "check.json", document)
    (output / "check.md").write_text(markdown(document))


def markdown(document: dict[str, Any]) -> str:
    lines = [f"# GPU check: {document.get('card', 'card not known')}", ""]
    lines += [f"- {name.replace('_', ' ')}: {document[name]}" for name in _FIRST[1:] if name in document]
    versions = document.get("versions", {})
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    if not document["has_ended"]:
        lines.append("- **has not ended**: what follows is what was over when this was written")
    lines += ["", "| step | s | verdict | figures |", "|---|---|---|---|"]
    for step in document["steps"]:
        figures = "; ".join(f"{name} {_short(value)}" for name, value in step["figures"].items())
        verdict = step["verdict"] if step["verdict"] == "ok" else f"**{step['verdict']}**"
        lines.append(f"| {step['step']} | {step['seconds']:.0f} | {verdict} | {figures} |")
    for step in document["steps"]:
        lines += _what_is_missing(step)
    return "\n".join(lines) + "\n"


def _what_is_missing(step: dict[str, Any]) -> list[str]:
    said = step["short"] or ([step["reason"]] if step["reason"] else [])
    missing = [f"not measured: {what}: {_line(why)}" for what, why in step["not_measured"].items()]
    if step["short"] and step["verdict"] in ("failed", "cut"):
        said = [step["reason"], *said]
    return ["", f"**{step['step']}**", "", *(f"- {_line(text)}" for text in [*said, *missing])] * bool(
        said or missing
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
