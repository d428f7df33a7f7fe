"""Keys of `data:` that only some data sets have, by the data set's name; here those of images."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from precsearch.experiment.arrays import ArraySettings
from precsearch.experiment.base import Settings

Augment = Literal["none", "crop-flip", "random-resized-crop"]
InMemory = Literal["auto", True, False]
_Channels = Annotated[tuple[float, float, float], Field(strict=False)]
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Normalization(Settings):
    """`data.normalize:` with numbers of one's own.

    Attributes:
        mean: of red, green and blue, in units of the brightest pixel; subtracted.
        std: of red, green and blue, above 0; divided by.
    """

    mean: _Channels
    std: _Channels

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0:
            raise ValueError(f"`std > 0` must hold, but got {list(value)}")
        return value


def _form(value: object) -> str:
    return "block" if isinstance(value, dict | Normalization) else "word"


Normalize = Annotated[
    Annotated[Literal["none", "imagenet"], Tag("word")] | Annotated[Normalization, Tag("block")], Discriminator(_form)
]


class ImageSettings(Settings):
    """Keys of every data set of colour images.

    Attributes:
        augment: what training batches are varied by: ``crop-flip`` for small images, ``random-resized-crop`` for
            photographs read from files. Nothing else is: neither validation and test images nor recalibration.
        normalize: ``imagenet``, or a block ``{mean: [r, g, b], std: [r, g, b]}``. Inputs lie in [0, 1] where it
            is ``none``, and then need no sign bit when they are quantized.
    """

    augment: Augment = "none"
    normalize: Normalize = "none"

    @property
    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """By channel, red first; empty where nothing is normalized."""
        if isinstance(self.normalize, Normalization):
            return self.normalize.mean, self.normalize.std
        return _IMAGENET if self.normalize == "imagenet" else ((), ())


class Cifar10Settings(ImageSettings):
    """Keys of ``cifar10``.

    Attributes:
        augment: what training batches are varied by, as for ``image_folder``.
    """

    augment: Literal["none", "crop-flip"] = "none"


class FolderSettings(ImageSettings):
    """Keys of ``image_folder``.

    Attributes:
        image_size: pixels a side: images are resized to that on their shorter side, and cropped to the middle
            square. Needed where their sizes differ; as they are where None.
        train: folder of the training images, below `root`.
        test: folder of the test images, below `root`; ``test`` where None, or else ``val``.
        workers: processes that read images beside the training; 0 reads them in the training's own.
        in_memory: whether the decoded images are kept in memory, 1 byte a value: `auto` does where they take at
            most 2 GiB. Otherwise each is read from its file every time.
    """

    image_size: int | None = Field(default=None, ge=8)
    train: str = "train"
    test: str | None = None
    workers: int = Field(default=0, ge=0, le=256)
    in_memory: InMemory = "auto"

    @field_validator("in_memory", mode="before")
    @classmethod
    def _three_ways(cls, value: object) -> object:
        if not isinstance(value, bool) and value != "auto":
            raise ValueError(f"`auto`, true or false must be given, but got {value!r}")
        return value

    @model_validator(mode="after")
    def _from_whole_pictures(self) -> FolderSettings:
        if self.augment == "random-resized-crop" and self.in_memory is True:
            raise ValueError(
                "`in_memory: true` must not be set with `augment: random-resized-crop`, which crops pictures as "
                "they are in their files; leave `in_memory` out"
            )
        if self.augment == "random-resized-crop" and self.image_size is None:
            raise ValueError("`image_size` must be set with `augment: random-resized-crop`; add `image_size: 224`")
        return self


class ImageNetSettings(FolderSettings):
    """Keys of ``imagenet``.

    Attributes:
        image_size: pixels a side: the middle square of an image, 7/8 of its shorter side, resized to that.
        train: folder of the training images, below `root`.
        test: folder of ILSVRC12's validation images, our test images, below `root`.
        workers: processes that read images beside the training; 0 reads them in the training's own.
        in_memory: as for ``image_folder``.
    """

    image_size: int | None = Field(default=224, ge=8)
    test: str | None = "val"
    workers: int = Field(default=4, ge=0, le=256)


class NoKeys(Settings):
    """Of data sets that are always the same."""


DATA_KEYS: Final[dict[str, type[Settings]]] = {
    "digits": NoKeys,
    "mnist": NoKeys,
    "cifar10": Cifar10Settings,
    "image_folder": FolderSettings,
    "imagenet": ImageNetSettings,
    "arrays": ArraySettings,
}
