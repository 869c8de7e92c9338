"""benchmarks/instances.py: its table and its picture, from what is found without training."""

import importlib

import numpy as np
import pytest

from fcn_keras import FCN32s

pytest.importorskip("pycocotools", reason="pycocotools is not installed")


@pytest.fixture(scope="module")
def benchmark(project_root):
    return importlib.import_module("benchmarks.instances")


def test_table_and_picture(benchmark, few_scenes):
    scenes = benchmark.scenes_of("validation", {"data_dir": few_scenes})
    everything = [
        {name: scene[name][scene["classes"] > 0] for name in ("boxes", "classes", "masks")}
        | {"scores": np.ones((scene["classes"] > 0).sum())}
        for scene in scenes
    ]
    by_components = [benchmark.instances.find_components(benchmark.perfect(scene["labels"])) for scene in scenes]
    results = {"truth": benchmark.measured(scenes, everything), "components": benchmark.measured(scenes, by_components)}
    assert results["truth"]["scenes"] == len(scenes)
    for kind in ("masks", "boxes", "masks_touching"):
        assert results["truth"][kind]["AP"] == pytest.approx(1, abs=1e-6)
        assert 0 < results["components"][kind]["AP"] < 0.9
    assert "| truth | all scenes, masks | 100.0 | 100.0 | 100.0 |" in benchmark.table(results)
    by_way = {"components of FCN-8s": by_components, "Mask R-CNN": everything}
    titles = [ax.get_title() for ax in benchmark.picture(scenes, by_way, shown=(0, 1)).axes]
    assert titles == ["image", "components of FCN-8s", "Mask R-CNN"] * 2
    nets = {"FCN-32s": FCN32s(10, "mini_vgg", weights=None)}
    titles = [ax.get_title() for ax in benchmark.picture_of_nets(scenes, nets, shown=(0, 1)).axes]
    assert titles == ["image", "FCN-32s", "truth", "", "", ""]


def test_perfect_masks_keep_labels_and_fill_the_void(benchmark):
    labels = np.array([[1, 255, 0], [1, 1, 255]])
    np.testing.assert_array_equal(benchmark.perfect(labels).argmax(-1)[labels != 255], labels[labels != 255])
    assert benchmark.perfect(labels).sum() == 6
