"""What every test relies on: no network, TensorFlow as backend, data and settings of its own."""

import importlib.util
import ipaddress
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What `make quick` leaves out: folders and files that take more than about ten seconds of a core, single tests that take
# more than about four, and whatever uses a fixture that takes long.
SLOW = (
    "benchmarks",
    "cli/test_cli.py::test_a_folder_of_ones_own_is_trained_and_measured",
    "cli/test_cli.py::test_doctor_prints_json",
    "cli/test_cli.py::test_tensorflows_words_are_held_back_unless_asked",
    "cli/test_doctor.py",
    "datasets/test_builders.py",
    "datasets/test_check_damage.py",
    "datasets/test_load.py::test_killed_right_after_the_data_are_prepared",
    "export",
    "inference/test_beam.py",
    "inference/test_segment.py",
    "inference/test_tiling.py",
    "instances/test_mask_rcnn.py",
    "instances/test_mask_rcnn_training.py",
    "layers/test_labels.py::test_binary_fcns_train",
    "layers/test_upsampling.py::test_one_channel_does_not_abort_the_process",
    "layers/test_upsampling.py::test_the_abort_that_one_channel_avoids",
    "models/test_backbones.py::test_weights_are_asked_for_by_name",
    "models/test_cloning.py",
    "models/test_convolutionalize.py::test_classifiers_of_keras",
    "models/test_dilation.py",
    "models/test_fcn.py::test_preprocessing_is_inside_and_the_backbones_own",
    "models/test_fcn.py::test_vgg16_keeps_the_weights_and_biases_of_the_classifier",
    "models/test_feature_layers.py::test_networks_that_the_table_does_not_list",
    "models/test_flops.py::test_what_the_padding_of_100_pixels_costs",
    "models/test_loading.py::test_rooms_that_nobody_has_entered_are_known",
    "paper",
    "test_backends.py",
    "test_browser.py",
    "test_doctests.py",
    "test_equivalences.py",
    "test_first_edition.py",
    "test_metrics.py::test_under_a_distribution_strategy",
    "test_notebooks.py",
    "test_package.py::test_files_load_with_keras_alone",
    "test_site.py",
    "training",
)
SLOW_FIXTURES = {"few_scenes", "site"}
LOCAL_NAMES = (None, "", b"", "localhost", b"localhost")

scratch = tempfile.TemporaryDirectory(prefix="fcn_keras_tests_")

# Before any test module imports Keras, and inherited by the processes that tests start.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_HOME"] = os.path.join(scratch.name, "keras")  # nobody's keras.json, no weights
os.environ["FCN_KERAS_DATA"] = os.path.join(scratch.name, "data")  # of each process its own: some draw few pictures
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The hook below sees this process only; its children, and C++ code, meet a proxy that is not there.
os.environ.update(dict.fromkeys(["http_proxy", "https_proxy", "all_proxy"], "http://127.0.0.1:9"))
os.environ.update(dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], "http://127.0.0.1:9"))
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"


def refuse_network(event, arguments):
    """Audit hook: stops what leaves this machine, from every library that goes through Python."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket's path
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise RuntimeError(f"A test reached for the network ({host}); tests run offline.")


def is_local(host):
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(refuse_network)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by -m
def pytest_collection_modifyitems(items):
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name.startswith(SLOW) or SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")


def pytest_unconfigure():
    scratch.cleanup()


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real photographs and masks: `FCN_KERAS_SHARED_DATA`, or `../shared/data`."""
    folder = pathlib.Path(os.environ.get("FCN_KERAS_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; FCN_KERAS_SHARED_DATA names another folder")
    return folder


@pytest.fixture(scope="module")
def project_root():
    """Makes `benchmarks` a package that can be imported, as from the project's root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


@pytest.fixture(scope="session")
def few_scenes(tmp_path_factory):
    """A folder with shapes, few of them: 12 scenes to train on, 5 to validate on, 2 to test on."""
    from fcn_keras import datasets
    from fcn_keras.datasets.shapes import Shapes

    folder = tmp_path_factory.mktemp("few_scenes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "SIZES", {"scenes": {"train": 12, "validation": 5, "test": 2}})
        datasets.prepare("shapes", data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site as `make site` builds it, some twenty seconds, once."""
    for name in ("sphinx", "myst_nb", "furo"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; the extra `site` of pyproject.toml brings it")
    folder = tmp_path_factory.mktemp("site")
    source, out = folder / "source", folder / "html"
    source.mkdir()
    options = ["-q", "-W", "--keep-going", "-c", ROOT / "docs", "-d", folder / "doctrees", source, out]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out
