"""Every example in every docstring of the package runs and prints what it says."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import fcn_keras

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(fcn_keras.__path__, "fcn_keras.") if not m.name.endswith("__main__")
)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(scope="module", autouse=True)
def few_shapes(tmp_path_factory):
    """The shapes data in small, in a folder of its own."""
    from fcn_keras.datasets.shapes import Shapes

    few = {"scenes": {"train": 8, "validation": 2, "test": 2}, "objects": {"train": 9, "validation": 9}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "SIZES", few)
        patch.setenv("FCN_KERAS_DATA", str(tmp_path_factory.mktemp("data")))
        tfds.disable_progress_bar()
        for config in few:  # preparing prints, and examples show what they do themselves
            fcn_keras.datasets.prepare("shapes", config)
        yield


@pytest.mark.parametrize("name", ["fcn_keras", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    module = importlib.import_module(name)
    names = {"keras": keras, "fcn_keras": fcn_keras, "np": np, "tf": tf, **vars(module)}
    runner, report = doctest.DocTestRunner(optionflags=OPTIONS), []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names):
        if example.examples:
            runner.run(example, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)
