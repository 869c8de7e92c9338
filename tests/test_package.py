"""The package's face: what importing it costs, and what it offers."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import fcn_keras

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(fcn_keras.__path__, "fcn_keras.") if not m.name.endswith("__main__")
)


def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_importing_needs_neither_data_sets_nor_plots():
    """Keras 3.15 itself imports matplotlib where there is one; None makes an import fail."""
    fresh("import sys; sys.modules.update(tensorflow_datasets=None, matplotlib=None); import fcn_keras")


def test_rooms_load_when_they_are_used():
    lazy = """
import sys, fcn_keras
fcn_keras.datasets.pipeline
fcn_keras.training.StagedTraining
assert "tensorflow_datasets" not in sys.modules
assert "fcn_keras.visualization" not in sys.modules
fcn_keras.visualization
"""
    fresh(lazy)


@pytest.mark.parametrize("name", fcn_keras.__all__)
def test_public_names_resolve_and_are_documented(name):
    assert inspect.getdoc(getattr(fcn_keras, name))
    assert name in dir(fcn_keras)


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_and_classes_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for attribute in getattr(module, "__all__", None) or [a for a in vars(module) if not a.startswith("_")]:
        value = getattr(module, attribute)
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == name:
            assert inspect.getdoc(value), f"{name}.{attribute}"


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="'fcn_keras' has no attribute 'FCN4s'"):
        fcn_keras.FCN4s  # noqa: B018
