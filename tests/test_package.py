"""The package's face: what importing it costs, what it offers, and that files load with Keras alone."""

import importlib
import inspect
import os
import pathlib
import pkgutil
import subprocess
import sys
import textwrap
import tomllib

import keras
import numpy as np
import pytest

import fcn_keras

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(fcn_keras.__path__, "fcn_keras.") if not m.name.endswith("__main__")
)


def fresh(code, *words, **environment):
    """Runs code in a process of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# --- importing ---


def test_importing_imports_nothing_but_the_standard_library():
    loaded = """
        import sys
        import fcn_keras
        dir(fcn_keras)
        print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__", "fcn_keras"})
    """
    before = fresh('import sys; print(*{name.partition(".")[0] for name in sys.modules})').split()
    assert not set(fresh(loaded).split()) - set(before)


def test_data_sets_and_figures_load_when_they_are_used():
    """Keras 3.15 itself imports matplotlib if it is installed; None makes an import fail."""
    fresh("""
        import sys
        sys.modules.update(tensorflow_datasets=None, matplotlib=None)
        import fcn_keras
        fcn_keras.FCN8s, fcn_keras.segment, fcn_keras.losses, fcn_keras.datasets.pipeline, fcn_keras.training
        assert "fcn_keras.visualization" not in sys.modules
    """)


@pytest.mark.parametrize("name", fcn_keras.__all__)
def test_public_names_resolve_and_are_documented(name):
    value = getattr(fcn_keras, name)
    assert inspect.getdoc(value)
    assert name in dir(fcn_keras)
    assert vars(fcn_keras)[name] is value  # looked up once


def test_all_public_names_come_with_a_star():
    names = {}
    exec("from fcn_keras import *", names)
    assert set(fcn_keras.__all__) <= set(names)


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="'fcn_keras' has no attribute 'FCN4s'"):
        fcn_keras.FCN4s  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'FCN4s'"):
        from fcn_keras import FCN4s  # noqa: F401


def test_an_import_that_fails_is_shown_as_it_is():
    """`None` in `sys.modules` is how Python itself marks a module that cannot be imported."""
    fresh("""
        import sys
        sys.modules["keras"] = None
        import fcn_keras
        for name in ("FCN8s", "losses"):
            try:
                getattr(fcn_keras, name)
            except ModuleNotFoundError as error:
                assert error.name == "keras" and error.__cause__ is None, error
            else:
                raise AssertionError(name)
    """)


LACKS = """
ops = None
class saving:
    get_custom_objects = dict
"""


def test_an_attribute_error_while_importing_is_not_taken_for_a_missing_name(tmp_path):
    (tmp_path / "keras.py").write_text(LACKS)
    told = fresh(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import fcn_keras
        try:
            from fcn_keras import MiniVGG
        except ImportError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "AttributeError while importing fcn_keras.MiniVGG" in told and "has no attribute" in told


# --- files that load by registered name ---


def test_keras_registry_has_a_stand_in_for_each_class():
    """All modules are imported by now: the registry holds the classes themselves, and no stand-in is left."""
    for name in MODULES:
        importlib.import_module(name)
    ours = {name: value for name, value in keras.saving.get_custom_objects().items() if name.startswith("fcn_keras>")}
    expected = {f"fcn_keras>{c}": f"fcn_keras.{m}" for m, classes in fcn_keras._REGISTERED.items() for c in classes}
    assert {name: getattr(value, "__module__", None) for name, value in ours.items()} == expected


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A compiled net, trained for one step, and what it answers."""
    folder = tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(0)
    model = fcn_keras.FCN8s(3, "mini_vgg", weights=None, upsampling="learned")
    model.compile(
        fcn_keras.training.LayerwiseAdamW(fcn_keras.training.Polynomial(1e-3, 10), decay=0.1),
        loss=fcn_keras.losses.PixelCrossentropy(),
        metrics=[fcn_keras.metrics.SegmentationMetrics(3)],
    )
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (1, 40, 48, 3)).astype("float32")
    model.fit(images, generator.integers(0, 3, (1, 40, 48)), verbose=0)
    model.save(folder / "net.keras")
    np.savez(folder / "expected.npz", images=images, logits=model(images))
    return folder


@pytest.mark.parametrize(
    ("imports", "backend"),
    [
        ("import fcn_keras, keras", "tensorflow"),
        ("import keras, fcn_keras", "tensorflow"),
        ("import fcn_keras; from keras.models import load_model", "tensorflow"),
        ("from keras.models import load_model; import fcn_keras", "tensorflow"),
        ("import fcn_keras; from tensorflow import keras", "tensorflow"),
        ("import fcn_keras, keras", "jax"),
        ("import keras, fcn_keras", "jax"),
    ],
)
def test_files_load_with_keras_alone(saved, imports, backend):
    loads = f"""
        {imports}
        import keras, numpy, sys
        rooms = [name for name in sys.modules if name.startswith("fcn_keras.")]
        assert not rooms, rooms
        model = keras.models.load_model(sys.argv[1] + "/net.keras")
        assert isinstance(model.optimizer, sys.modules["fcn_keras"].training.LayerwiseAdamW)
        assert isinstance(model.loss, sys.modules["fcn_keras"].losses.PixelCrossentropy)
        expected = numpy.load(sys.argv[1] + "/expected.npz")
        logits = keras.ops.convert_to_numpy(model(expected["images"]))
        numpy.testing.assert_allclose(logits, expected["logits"], rtol=1e-4, atol=1e-4)
    """
    fresh(loads, saved, KERAS_BACKEND=backend)


FAKE = {
    "keras/__init__.py": "import os\nfrom . import saving\nif os.path.exists(__file__ + '.broken'):\n    raise ImportError('broken')\n",
    "keras/saving.py": "REGISTRY = {}\ndef get_custom_objects():\n    return REGISTRY\n",
}


@pytest.fixture
def fake(tmp_path):
    """A folder with a small package called keras, which has a registry."""
    for name, text in FAKE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_hook_finds_keras_where_it_is_and_leaves_after_use(fake):
    fresh(
        """
        import importlib.machinery, importlib.util, sys
        sys.path.insert(0, sys.argv[1])
        finders = list(sys.meta_path)
        import fcn_keras
        assert len(sys.meta_path) == len(finders) + 1
        spec = importlib.util.find_spec("keras")
        assert spec.origin == sys.argv[1] + "/keras/__init__.py" and spec.submodule_search_locations
        assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
        assert importlib.util.find_spec("no_such_module") is None and "keras" not in sys.modules
        import keras.saving
        assert sys.meta_path == finders
        assert keras.__spec__.origin == spec.origin and keras.__loader__ is keras.__spec__.loader
        assert len(keras.saving.REGISTRY) == sum(map(len, fcn_keras._REGISTERED.values()))
        """,
        fake,
    )


def test_the_hook_stays_until_keras_can_be_imported(fake):
    fresh(
        """
        import pathlib, sys
        sys.path.insert(0, sys.argv[1])
        broken = pathlib.Path(sys.argv[1], "keras", "__init__.py.broken")
        broken.touch()
        import fcn_keras
        for _ in range(2):
            try:
                import keras
            except ImportError as error:
                assert str(error) == "broken"
        broken.unlink()
        import keras.saving
        assert "fcn_keras>MaskRCNN" in keras.saving.REGISTRY
        """,
        fake,
    )


def test_no_keras_is_still_no_keras():
    fresh("""
        import importlib.util, sys
        sys.path[:] = [path for path in sys.path if "site-packages" not in path]
        import fcn_keras
        assert importlib.util.find_spec("keras") is None
        try:
            import keras
        except ModuleNotFoundError as error:
            assert error.name == "keras"
        else:
            raise AssertionError
    """)


def test_the_hook_agrees_with_other_hooks_and_with_threads(fake):
    """Another finder that asks all finders, as hooks of this kind do; and many threads that import at once."""
    fresh(
        """
        import importlib, importlib.util, sys, threading
        sys.path.insert(0, sys.argv[1])

        class Asks:
            asking = False
            def find_spec(self, name, path=None, target=None):
                if name != "keras" or self.asking:
                    return None
                self.asking = True
                try:
                    return importlib.util.find_spec(name)
                finally:
                    self.asking = False

        sys.meta_path.insert(0, Asks())
        import fcn_keras
        sys.meta_path.insert(0, Asks())
        assert importlib.util.find_spec("keras").origin.startswith(sys.argv[1])
        start, failures = threading.Barrier(8), []

        def run(name):
            try:
                start.wait()
                importlib.import_module(name)
                import keras
                assert "fcn_keras>MaskRCNN" in keras.saving.REGISTRY
            except BaseException as error:
                failures.append(error)

        names = ["keras", "json.tool", "fcn_keras._files", "fcn_keras.cli"] * 2
        threads = [threading.Thread(target=run, args=[name]) for name in names]
        [thread.start() for thread in threads]
        [thread.join(60) for thread in threads]
        assert not failures and not any(thread.is_alive() for thread in threads), failures
        """,
        fake,
    )


def test_everything_that_is_not_python_goes_into_the_wheel():
    root = pathlib.Path(fcn_keras.__file__).parent
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["fcn_keras"]
    shipped = {path for pattern in patterns for path in root.glob(pattern)}
    others = {p for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert shipped == others and len(shipped) > 10
