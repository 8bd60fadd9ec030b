"""From PyTorch to a sealed bundle.

Also for modules that were trained elsewhere::

    bundle = export_bundle(
        encoder,  # image [B, C, H, W] in [0, 1] → (mean, log_var), or a mapping with both, as in pythae
        decoder,  # latent → image in [0, 1]
        repository="models",
        name="mine",
        images=images,  # [N, C, H, W] uint8, or float32 in [0, 1]
        labels=labels,  # optional, with label_names: a pool for each
        label_names=("cat", "dog"),
    )
    print(bundle.root, bundle.digest)

and then ``vae-serve --repository models``.
"""

from training.export.run_export import check_request, export_run
from training.export.sealing import Facts, export_bundle
from training.models.score import Score

__all__ = ["Facts", "Score", "check_request", "export_bundle", "export_run"]
