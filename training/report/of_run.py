"""Write the report of a run folder."""

from pathlib import Path

from training.evaluate import present_metrics
from training.pools import fit_latents
from training.report.pictures import pictures
from training.runs import Run, load_run


def write_report(path: Path) -> list[Path]:
    """Draw the pictures of a run into its ``report`` folder, beside ``metrics.json``.

    A run without an evaluation of its present weights is evaluated quickly first.
    """
    run, loaded = Run(path), load_run(path)
    dataset = loaded.dataset()
    metrics = present_metrics(run, loaded, dataset)
    latents = fit_latents(
        loaded.model.encoder, dataset.train.images, dataset.train.labels, dataset.label_names
    )
    files = pictures(run, loaded.model, dataset, latents) | {"metrics.json": metrics.to_json().encode()}
    run.report.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (run.report / name).write_bytes(content)
    return [run.report / name for name in files]
