"""A segmentation data set that is generated in seconds, without a network, and is the same on every machine."""

import io
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ..builders import make_features, make_info
from .scene import CLASS_NAMES, PALETTE, draw_object, draw_scene

_DESCRIPTION = """
Lit and textured scenes of nine forms, drawn by `fcn_keras.datasets.shapes.scene`. Forms differ in outline and texture,
never in colour; thin ones (pole, fence, ring) disappear in a network of stride 32. Config `scenes` is for segmentation,
config `objects` for training the classifier that a segmentation network starts from. Configs `fine_x1`, `fine_x2` and
`fine_x4` hold scenes again, with masks whose sides are one, two and four times those of the image.
"""
MASK_SCALES = {"fine_x1": 1, "fine_x2": 2, "fine_x4": 4}


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Builder of the generated data set.

    Configs:

    - ``"scenes"`` (default): ``image`` of 128×128 pixels, ``segmentation_mask`` (ids 0–9, void 255), ``instance_mask``
      (objects in the order of drawing, void 255) and ``file_name``; 1,000 training, 200 validation and 200 test
      examples.
    - ``"objects"``: ``image`` of 96×96 pixels, ``label`` 0–8 (the class id minus one, each in turn) and ``file_name``;
      4,500 training and 900 validation examples.
    - ``"fine_x1"``, ``"fine_x2"``, ``"fine_x4"``: the first 400 training and 100 validation scenes, with the same
      images. The sides of the ``segmentation_mask`` are one, two or four times as long. The mask is rendered at this
      size from the same random numbers. It has no void rim, so every pixel up to the outline is scored. In a mask ``k``
      times as large, pixel ``q`` is centred on ``(q + 0.5) / k - 0.5`` of the image.

    ``builder.info.metadata`` holds ``class_names``, ``palette`` and ``void``. For the fine configs it also holds
    ``mask_scale``.

    Example:

    >>> builder = Shapes(config="scenes", data_dir="data")
    >>> builder.download_and_prepare()
    Downloading and preparing dataset ...
    >>> scenes = builder.as_dataset(split="train")
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Scenes and objects."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="scenes", description="Scenes with class and instance masks."),
        tfds.core.BuilderConfig(name="objects", description="One object an image, with its class."),
        *(
            tfds.core.BuilderConfig(name=name, description=f"Scenes with class masks {scale} times as large, no void.")
            for name, scale in MASK_SCALES.items()
        ),
    ]
    SIZES: ClassVar = {
        "scenes": {"train": 1000, "validation": 200, "test": 200},
        "objects": {"train": 4500, "validation": 900},
        **{config: {"train": 400, "validation": 100} for config in MASK_SCALES},
    }

    def _info(self):
        config, names, palette = self.builder_config.name, CLASS_NAMES, PALETTE
        features = make_features("png", instance_mask=config == "scenes")
        if config == "objects":
            names, palette = CLASS_NAMES[1:], PALETTE[1:]
            label = tfds.features.ClassLabel(names=names)
            features = {"image": features["image"], "label": label, "file_name": features["file_name"]}
        info = make_info(self, _DESCRIPTION, names, palette, tfds.features.FeaturesDict(features))
        if config in MASK_SCALES:
            info.metadata["mask_scale"] = MASK_SCALES[config]
        return info

    def _split_generators(self, dl_manager):
        sizes = self.SIZES[self.builder_config.name]
        return {split: self._generate_examples(split, size) for split, size in sizes.items()}

    def _generate_examples(self, split, size):
        for index in range(size):
            file_name = f"{split}_{index:05d}.png"
            yield file_name, {"file_name": file_name, **self._make_example(split, index)}

    def _make_example(self, split, index):
        config = self.builder_config.name
        if config in MASK_SCALES:
            return self._make_fine_example(split, index, MASK_SCALES[config])
        rng = make_rng(str(self.version), config, split, index)
        if config == "objects":
            label = index % (len(CLASS_NAMES) - 1)
            return {"image": _encode_png(draw_object(rng, label)), "label": label}
        return {name: _encode_png(pixels) for name, pixels in vars(draw_scene(rng)).items()}

    def _make_fine_example(self, split, index, scale):
        """The image of the scene with this index, and its mask at `scale` times the size."""
        coarse, fine = (
            draw_scene(make_rng(str(self.version), "scenes", split, index), render_scale=k, rim=0) for k in (1, scale)
        )
        return {"image": _encode_png(coarse.image), "segmentation_mask": _encode_png(fine.segmentation_mask)}


def make_rng(version, config, split, index):
    """The random generator of one example. It does not depend on other examples, or on the process that draws them.

    Args:
        version: Version of the data set, such as ``"1.0.0"``.
        config: Config of `Shapes`.
        split: Name of the split.
        index: Index of the example in the split.

    Returns:
        A `np.random.Generator`.

    Example:

    >>> scene = draw_scene(make_rng("1.0.0", "scenes", "train", 0), render_scale=2)
    """
    return np.random.default_rng([*f"{version}/{config}/{split}".encode(), index])


def _encode_png(pixels):
    """A PNG file in memory. It is only lightly compressed, because the default level takes as long as the drawing."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", compress_level=1)
    file.seek(0)
    return file
