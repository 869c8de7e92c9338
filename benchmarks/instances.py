"""Average precision of Mask R-CNN on shapes, beside the connected components of FCN-8s' masks.

    python -m benchmarks.instances [--seed 0] [--directory runs/instances-0]

Run it from the project's root. It trains both (a quarter of an hour and half an hour on two CPU cores; when it was
stopped, the same command continues). It measures them on the 200 validation scenes at their own size: on all scenes,
and on those in which two objects of one class touch or nearly touch. A third row has the components of perfect class
masks. It leaves results.json, instances.png and, of the nets of Table 2, stages.png.
"""

import argparse
import pathlib
import sys

import numpy as np
from scipy import ndimage

import fcn_keras
from fcn_keras import datasets, instances, training, visualization
from fcn_keras._files import atomic_write, write_json
from fcn_keras.datasets.shapes.scene import CLASS_NAMES, PALETTE
from fcn_keras.inference.segment import predict_probabilities
from fcn_keras.layers.labels import VOID


def main(arguments=None):
    """Trains, measures, prints a table; returns the exit status."""
    found = parsed(arguments)
    where = {"data_dir": found.data_dir}
    staged = training.prepare_stages("shapes", found.directory / "stages", seed=found.seed, **where)
    staged.run()
    run = instances.train("shapes", found.directory / "mask-rcnn", seed=found.seed, where=where, validate_every=4)
    fcn8s, mask_rcnn, size = staged.model("FCN-8s"), run.model(), run.settings["size"][0]
    scenes = scenes_of("validation", where)
    by_way = {
        "Mask R-CNN": [instances.segment_instances(mask_rcnn, scene["image"], 0.0, size) for scene in scenes],
        "components of FCN-8s": [
            instances.find_components(predict_probabilities(fcn8s, scene["image"])) for scene in scenes
        ],
        "components of perfect class masks": [instances.find_components(perfect(scene["labels"])) for scene in scenes],
    }
    results = {name: measured(scenes, objects) for name, objects in by_way.items()}
    write_json(found.directory / "results.json", results)
    atomic_write(found.directory / "instances.png", lambda path: picture(scenes, by_way).savefig(path, dpi=80))
    nets = {name: staged.model(name) for name in staged.results()}
    atomic_write(found.directory / "stages.png", lambda path: picture_of_nets(scenes, nets).savefig(path, dpi=100))
    print(table(results))
    return 0


def parsed(arguments):
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--directory", type=pathlib.Path, help="default: runs/instances-SEED")
    parser.add_argument("--data-dir", help="folder of the prepared data")
    found = parser.parse_args(arguments)
    found.directory = found.directory or pathlib.Path(f"runs/instances-{found.seed}")
    return found


def scenes_of(split, where):
    """Scenes with their objects, their class masks, and whether two objects of one class touch."""
    objects = instances.load("shapes", split, batch=1, **where).unbatch().as_numpy_iterator()
    masks = datasets.load("shapes", split, **where).as_numpy_iterator()
    return [
        scene | {"labels": mask, "touching": instances.has_touching_twins(scene["classes"], scene["masks"])}
        for scene, (_, mask) in zip(objects, masks, strict=True)
    ]


def perfect(labels):
    """A class mask as probabilities of 0 and 1. A void pixel gets the class of the nearest labelled pixel."""
    _, nearest = ndimage.distance_transform_edt(labels == VOID, return_indices=True)
    return np.eye(len(CLASS_NAMES), dtype="float32")[labels[tuple(nearest)]]


def measured(scenes, found):
    """Average precision of masks and boxes: on all scenes, and on those where objects of one class touch."""
    touching = [scene["touching"] for scene in scenes]
    some = [[x for x, wanted in zip(xs, touching, strict=True) if wanted] for xs in (scenes, found)]
    return {
        **{kind: instances.average_precision(scenes, found, kind) for kind in ("masks", "boxes")},
        "masks_touching": instances.average_precision(*some),
        "scenes": len(scenes),
        "touching": sum(touching),
    }


def picture(scenes, by_way, shown=(66, 22)):
    """Two scenes where objects of one class touch: components, and Mask R-CNN."""
    columns = {name: by_way[name] for name in ("components of FCN-8s", "Mask R-CNN")}
    nothing = {name: np.zeros(0) for name in ("boxes", "classes", "masks", "scores")}
    columns = {"image": [nothing] * len(scenes)} | columns
    cells = [(scenes[i]["image"], title, confident(found[i])) for i in shown for title, found in columns.items()]
    images, titles, found = zip(*cells, strict=True)
    return visualization.show_instances(images, found, CLASS_NAMES, titles=titles)


def picture_of_nets(scenes, nets, shown=(11, 15, 19)):
    """Three scenes, the mask of each net, the truth."""
    chosen = [scenes[i] for i in shown]
    columns = {name: [fcn_keras.segment(net, scene["image"]) for scene in chosen] for name, net in nets.items()}
    columns["truth"] = [scene["labels"] for scene in chosen]
    return visualization.compare([scene["image"] for scene in chosen], columns, CLASS_NAMES, PALETTE)


def confident(found, least_score=0.5):
    """The objects with at least this score."""
    found = vars(found) if isinstance(found, instances.Instances) else found
    return {name: values[found["scores"] >= least_score] for name, values in found.items()}


def table(results):
    """Markdown, in percent."""
    kinds = {
        "masks": "all scenes, masks",
        "boxes": "all scenes, boxes",
        "masks_touching": "scenes where objects of one class touch, masks",
    }
    lines = ["| | of | AP | AP50 | AP75 |", "|---|---|---|---|---|"]
    for name, result in results.items():
        for kind, title in kinds.items():
            values = " | ".join(f"{100 * result[kind][ap]:.1f}" for ap in ("AP", "AP50", "AP75"))
            lines.append(f"| {name} | {title} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
