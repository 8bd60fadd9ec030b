"""Images: grey, coloured or of any number of channels."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from training.config import FitConfig
    from training.data import Dataset
    from training.modalities.data_form import DataForm
    from training.models import VAE


class Image:
    """See ``training.modalities.training_modality.Modality``; imports what it needs when it is needed."""

    name = "image"
    unit = "images"
    refuses = frozenset({"label", "table_schema", "following", "input_noise"})

    def takes(self, data: str) -> bool:
        return True

    def load(self, config: "FitConfig", *, labelled: bool = True) -> "Dataset":
        from training.modalities.image import data

        return data.load(config, labelled=labelled)

    def announce(self, dataset: "Dataset", config: "FitConfig") -> None:
        from training.modalities.image.data.statistics import check, describe, statistics

        found = statistics(dataset)
        print(describe(dataset, found))
        check(dataset, found, likelihood=config.likelihood, binarisation=config.binarisation)

    def resolve(self, config: "FitConfig", dataset: "Dataset", *, processes: int = 1) -> "FitConfig":
        from training.modalities.image.presets import resolve

        return resolve(config, dataset, processes=processes)

    def describe_presets(self) -> str:
        from training.modalities.image.presets import describe_presets

        return describe_presets()

    def build_model(self, config: "FitConfig", spec: tuple[int, int, int]) -> "VAE":
        from training.modalities.image.networks import build_model

        return build_model(config, spec)

    def encoder(self, model: "VAE") -> "nn.Module":
        from training.modalities.image.networks.codec import ImageEncoder

        return ImageEncoder(model)

    def decoder(self, model: "VAE") -> "nn.Module":
        from training.modalities.image.networks.codec import ImageDecoder

        return ImageDecoder(model)

    def score(self, model: "VAE") -> "nn.Module":
        from training.models.score import Score

        return Score(model.encoder, model.decoder, model.likelihood, model.prior)

    def form(self, spec: tuple[int, int, int]) -> "DataForm":
        from training.modalities.image.image_form import IMAGES

        return IMAGES

    def step_in_words(self, spec: tuple[int, int, int]) -> str:
        return f"--image-size: a step of one image of {spec[1]}x{spec[2]}"


IMAGE = Image()
