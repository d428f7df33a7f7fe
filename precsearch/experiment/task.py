"""`data:` and `model:`, the task that is searched on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator

from precsearch.experiment.base import Settings

_WEIGHTS_SUFFIXES: Final = {".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors"}


def _share_form(value: object) -> str:
    return "count" if isinstance(value, int) and not isinstance(value, bool) else "fraction"


Share = Annotated[Annotated[int, Tag("count")] | Annotated[float, Tag("fraction")], Discriminator(_share_form)]


class DataSettings(Settings):
    """`data:`; data sets of images and arrays have more keys, and a data function of your own is passed all others.

    Attributes:
        name: ``digits``, ``mnist``, ``cifar10``, ``image_folder``, ``imagenet``, ``arrays``, or
            ``package.module:function``.
        root: folder that holds (or receives) the files.
        validation: images held out of training for validation; a fraction of 1, or a count.
        batch_size: images a step.
        train_limit: train on the first so many images of the training split; all where None.
        download: whether missing files may be fetched.
    """

    model_config = ConfigDict(extra="allow")

    name: str = "digits"
    root: str = "data"
    validation: Share = 0.2
    batch_size: int = Field(default=64, ge=1)
    train_limit: int | None = Field(default=None, ge=1)
    download: bool = True

    def at_home(self, home: Path) -> DataSettings:
        """The same with absolute paths, relative ones taken from `home`."""
        placed = {"root": str(home / Path(self.root).expanduser())}
        path = (self.model_extra or {}).get("path")
        if self.name == "arrays" and isinstance(path, str):
            placed["path"] = str(home / Path(path).expanduser())
        return self.model_copy(update=placed)

    @field_validator("validation")
    @classmethod
    def _positive(cls, value: float | int) -> float | int:
        if value <= 0 or (isinstance(value, float) and value >= 1 and not value.is_integer()):
            raise ValueError(f"a fraction between 0 and 1, or a count of images, must hold, but got {value}")
        return int(value) if value >= 1 else value


class ModelSettings(Settings):
    """`model:`; every key but `name` and `checkpoint` is passed to the model's builder.

    Attributes:
        name: ``mlp``, ``lenet5``, ``convnet``, ``vgg_small``, ``resnet20``, a classification model of torchvision such
            as ``resnet18``, or ``package.module:function``.
        checkpoint: path to float weights to start from, a state dict that torch or safetensors wrote; random
            weights where None.
    """

    model_config = ConfigDict(extra="allow")

    name: str = "mlp"
    checkpoint: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The builder's keyword arguments."""
        return dict(self.model_extra or {})

    @property
    def starts_trained(self) -> bool:
        """Whether the weights may have been learned before; a function of one's own may load any."""
        return self.checkpoint is not None or self.arguments.get("weights") is not None or ":" in self.name

    def at_home(self, home: Path) -> ModelSettings:
        """The same with absolute paths, relative ones taken from `home`."""
        files = {} if self.checkpoint is None else {"checkpoint": self.checkpoint}
        weights = self.arguments.get("weights")
        if ":" not in self.name and isinstance(weights, str) and is_weights_file(weights):
            files["weights"] = weights
        placed = {key: str(home / Path(file).expanduser()) for key, file in files.items()}
        return ModelSettings.model_validate(self.model_dump() | placed)


def is_weights_file(text: str) -> bool:
    """Whether `model.weights` is meant as a path rather than as a name of torchvision's."""
    return "/" in text or "\\" in text or Path(text).suffix.lower() in _WEIGHTS_SUFFIXES
