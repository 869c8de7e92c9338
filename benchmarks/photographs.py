"""Figures and results on the photographs that come with the package.

    python -m benchmarks.photographs tabby                        # needs the ImageNet weights of MobileNetV2
    python -m benchmarks.photographs masks                        # needs fcn8s_mobilenet_v2_voc (benchmarks.shipped)
    python -m benchmarks.photographs stages --stages FOLDER       # FCN-32s, 16s, 8s of a staged run on one of them

Run it from the project's root. ``tabby`` writes fcn_keras/datasets/samples/results/tabby.json, which chapters read, and
notebooks/results/tabby.png. The others write photographs.png and astronaut-stages.png into the same folder.
"""

import argparse
import datetime
import pathlib
import sys

import keras
import numpy as np
from PIL import Image

import fcn_keras
from fcn_keras import geometry, visualization
from fcn_keras._files import atomic_write, write_json
from fcn_keras.datasets import samples
from fcn_keras.visualization import style

RESULTS = pathlib.Path("notebooks/results")
TABBY, ENLARGED = 281, 1.5  # the class of ImageNet; the photograph is small, and its map would be coarse
TITLES = {"cat": "a cat: found", "astronaut": "a person: found", "coffee": "a cup: it fails"}
STAGES = ("FCN-32s", "FCN-16s", "FCN-8s")


def main(arguments=None):
    """Makes what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tabby", "masks", "stages"))
    parser.add_argument("--stages", type=pathlib.Path, help="the folder of a staged run on VOC")
    found = parser.parse_args(arguments)
    if found.what == "stages" and found.stages is None:
        parser.error("stages needs --stages FOLDER")
    if found.what == "tabby":
        save("tabby.png", tabby())
    elif found.what == "masks":
        save("photographs.png", masks())
    else:
        save("astronaut-stages.png", stages(found.stages))
    return 0


def save(name, figure):
    """Writes a figure into the folder of results."""
    atomic_write(RESULTS / name, lambda path: figure.savefig(path, dpi=100))


def tabby():
    """The paper's Figure 2: the scores of one class, from a classifier that slides over the photograph.

    Returns:
        The figure. The scores are written to ``tabby.json``.
    """
    image = samples.photograph("cat")
    height, width = (round(ENLARGED * side) for side in image.shape[:2])
    image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    network = fcn_keras.convolutionalize(keras.applications.MobileNetV2(weights="imagenet"))
    pixels = keras.applications.mobilenet_v2.preprocess_input(image[None].astype("float32"))
    scores = keras.ops.convert_to_numpy(network(pixels))[0]
    (unit,) = geometry.trace_outputs(network)
    record = {
        "photograph": "cat",
        "size": [height, width],
        "class": "tabby",
        "stride": unit.stride,
        "offset": unit.offset,
        "scores": np.round(scores[..., TABBY].astype(float), 2).tolist(),
        "network": "MobileNetV2 of Keras, weights of ImageNet, converted by fcn_keras.convolutionalize",
        "command": "python -m benchmarks.photographs tabby",
        "date": str(datetime.date.today()),
    }
    write_json(samples.FOLDER / "results" / "tabby.json", record)
    return visualization.plot_heat_maps(image, scores[..., TABBY : TABBY + 1], ["tabby"], ["tabby"])


def masks():
    """Every photograph, and below it its mask by the net that comes with the package."""
    net = fcn_keras.load_model("fcn8s_mobilenet_v2_voc")
    images = [samples.photograph(name) for name in TITLES]
    found = [fcn_keras.segment(net, image) for image in images]
    ratios = [image.shape[1] / image.shape[0] for image in images]
    with style.canvas(style.MAX_WIDTH, 2 * style.MAX_WIDTH / sum(ratios) + 0.7) as figure:
        axes = figure.subplots(2, len(images), width_ratios=ratios)
        for (above, below), image, ids, title in zip(axes.T, images, found, TITLES.values(), strict=True):
            style.draw_image(above, image, title)
            style.draw_panel(below, visualization.colorize(ids, net.palette))
        patches = style.make_class_patches(found, net.class_names, net.palette)
        figure.legend(handles=patches, loc="outside lower center", ncols=5, **style.LEGEND)
    return figure


def stages(directory):
    """The astronaut, and her masks by FCN-32s, FCN-16s and FCN-8s.

    Args:
        directory: Folder of a staged run.
    """
    nets = {name: fcn_keras.load_model(directory / name / "last.keras") for name in STAGES}
    image = samples.photograph("astronaut")
    found = {name: [fcn_keras.segment(net, image)] for name, net in nets.items()}
    net = nets["FCN-8s"]
    return visualization.compare([image], found, net.class_names, net.palette)


if __name__ == "__main__":
    sys.exit(main())
