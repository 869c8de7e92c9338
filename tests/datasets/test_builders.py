"""Runs the test case and the command of TFDS on every config of every builder."""

import os
import pathlib
import subprocess
import sys
import tempfile

import pytest
import stand_ins
import tensorflow_datasets as tfds

from fcn_keras.datasets.camvid import CamVid
from fcn_keras.datasets.pets import OxfordPets
from fcn_keras.datasets.shapes import Shapes
from fcn_keras.datasets.voc.builder import VocSegmentation

ROOT = pathlib.Path(__file__).parents[2]
# The code that `tfds build` runs. The command itself also imports mlcroissant, which only other subcommands need.
TFDS_BUILD = """
from absl import app
from tensorflow_datasets.scripts.cli import build, cli_utils
app.run(lambda args: args.execute(), flags_parser=cli_utils.make_flags_parser(build.Args, description="build"))
"""
folder = tempfile.TemporaryDirectory(prefix="fcn_keras_stand_ins_")
DATA = pathlib.Path(folder.name)


@pytest.fixture(scope="module", autouse=True)
def data():
    """VOC2011, VOC2012 and SBD, which share images, and next to them CamVid and Pets."""
    stand_ins.write_voc(DATA / "VOCdevkit" / "VOC2012", ["a", "b", "c"], ["v", "w"])
    stand_ins.write_voc(DATA / "TrainVal" / "VOCdevkit" / "VOC2011", ["a", "b"], ["c", "v", "x"])
    stand_ins.write_sbd(DATA / "benchmark_RELEASE" / "dataset", ["a", "v", "d", "e"], ["c", "f"])
    stand_ins.write_camvid(DATA / "CamVid", ["p", "q"], ["r"])
    stand_ins.write_pets(DATA, [f"pug_{i}" for i in range(11)], ["pug_90", "pug_91"])
    few = {"scenes": {"train": 2, "validation": 1, "test": 1}, "objects": {"train": 2, "validation": 1}}
    few |= {f"fine_x{k}": {"train": 2, "validation": 1} for k in (1, 2, 4)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "SIZES", few)
        tfds.disable_progress_bar()
        yield
    folder.cleanup()


class Case(tfds.testing.DatasetBuilderTestCase):
    """The cases below differ in their builder, config and splits."""

    __test__ = False
    EXAMPLE_DIR = DATA
    MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False  # Pillow and SciPy open local files
    SKIP_CHECKSUMS = True  # nothing is downloaded here: tests/datasets/test_downloads.py


def case(builder, config, splits, **attributes):
    names = {"BUILDER_CONFIG_NAMES_TO_TEST": [config]} if config else {}
    return type(
        f"Test{builder.__name__}_{config}",
        (Case,),
        {"__test__": True, "DATASET_CLASS": builder, "SPLITS": splits, **names, **attributes},
    )


TestVoc2012 = case(VocSegmentation, "2012", {"train": 3, "validation": 2})
TestVoc2011 = case(VocSegmentation, "2011", {"train": 2, "validation": 3})
TestSbd = case(VocSegmentation, "sbd", {"train": 4, "validation": 2})
TestVoc2011Sbd = case(VocSegmentation, "2011_sbd", {"sbd_train": 4, "seg11valid": 2})
TestVoc2012Sbd = case(VocSegmentation, "2012_sbd", {"trainaug": 6, "validation": 2})
TestCamVid = case(CamVid, None, {"train": 2, "validation": 1}, EXAMPLE_DIR=DATA / "CamVid")
TestPets = case(OxfordPets, "pet", {"train": 9, "validation": 2, "test": 2})
TestPetsTrimap = case(OxfordPets, "trimap", {"train": 9, "validation": 2, "test": 2})
TestScenes = case(Shapes, "scenes", {"train": 2, "validation": 1, "test": 1})
TestObjects = case(Shapes, "objects", {"train": 2, "validation": 1})
TestFine = case(Shapes, "fine_x2", {"train": 2, "validation": 1})


@pytest.mark.parametrize(
    ("arguments", "builder", "splits"),
    [
        (["voc_segmentation/2012_sbd", "--imports=fcn_keras.datasets.voc.builder"], "voc_segmentation/2012_sbd", {"trainaug": 6, "validation": 2}),
        (["cam_vid", "--imports=fcn_keras.datasets.camvid"], "cam_vid", {"train": 2, "validation": 1}),
    ],
)  # fmt: skip
def test_tfds_build(tmp_path, arguments, builder, splits):
    """Runs the command with an import. With a file, TFDS would hide every folder that is called `datasets`."""
    manual = DATA / "CamVid" if builder == "cam_vid" else DATA
    command = [sys.executable, "-c", TFDS_BUILD, *arguments]
    command += [f"--manual_dir={manual}", f"--data_dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    version = {"cam_vid": "1.0.0"}.get(builder, "2.0.0")
    info = tfds.builder_from_directory(tmp_path / builder / version).info
    assert {name: split.num_examples for name, split in info.splits.items()} == splits
