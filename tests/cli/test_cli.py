"""The command line: examples in the help, exit status, JSON, the folder of a run, and Ctrl-C."""

import dataclasses
import inspect
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import typing

import keras
import numpy as np
import pytest
import stand_ins
import typer
from PIL import Image

from fcn_keras import FCN32s, datasets, segment, training
from fcn_keras.cli import export, main, seg11valid, train
from fcn_keras.cli.app import app
from fcn_keras.datasets import samples
from fcn_keras.export import formats
from fcn_keras.inference import evaluate
from fcn_keras.models import BACKBONES, backbones, load_model, shipped
from fcn_keras.paper.seg11valid import NETS as PAPER_NETS
from fcn_keras.training import STAGED_RECIPES

COMMANDS = typer.main.get_command(app).commands
SMALL = ["--backbone", "mini_vgg", "--from-scratch", "--size", "64", "64", "--epochs", "2"]


def write_folder(root):
    """Writes ten images with masks of three classes and some void, and two lists of names."""
    names = [f"{i:02d}" for i in range(10)]
    generator = np.random.default_rng(0)
    for name in names:
        ids = np.kron(generator.integers(0, 3, (4, 5)), np.ones((10, 12), int)).astype("uint8")
        ids[:3] = 255
        for folder, array in (("images", generator.integers(0, 256, (*ids.shape, 3)).astype("uint8")), ("masks", ids)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{name}.png")
    stand_ins.write_list(root / "train.txt", names[:-3])
    stand_ins.write_list(root / "validation.txt", names[-3:])
    return root


@pytest.fixture(scope="module")
def data(few_scenes):
    return few_scenes


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    assert main(["train", "shapes", "--data-dir", str(data), "--directory", str(folder), *SMALL]) == 0
    return folder


# --- help ---


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_it_does_and_its_examples_parse(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([name, "--help"]) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().out)
    words = inspect.cleandoc(COMMANDS[name].callback.__doc__)
    examples = re.findall(r"^ {4}fcn-keras (.+)$", words, flags=re.MULTILINE)
    assert examples and words.splitlines()[0] in told
    for example in examples:
        assert example in told
        command, *arguments = shlex.split(example)
        assert command == name
        COMMANDS[name].make_context(name, arguments)  # raises where an option is unknown or missing
    python = re.search(r"Python: (.+)$", words, flags=re.MULTILINE)[1]
    for path in python.split(", "):
        assert callable(pkgutil.resolve_name(path)), path


def test_every_option_is_explained():
    for name, command in COMMANDS.items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_as_a_module_and_as_a_program():
    for words in ([sys.executable, "-m", "fcn_keras"], [sys.executable.replace("python", "fcn-keras")]):
        done = subprocess.run([*words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in COMMANDS)


LIGHT = """
import sys
from fcn_keras.cli import main
status = main(sys.argv[1:])
heavy = {"tensorflow", "keras", "numpy", "PIL", "scipy", "matplotlib", "tensorflow_datasets"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""


@pytest.mark.parametrize("words", [[], ["check"], ["train"], ["evaluate"], ["segment"], ["export"], ["seg11valid"]])
def test_help_loads_neither_keras_nor_numpy(words):
    """Therefore it answers in a second. `python -X importtime -m fcn_keras --help` shows what is imported."""
    done = subprocess.run([sys.executable, "-c", LIGHT, *words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: fcn-keras" in done.stdout


def test_choices_are_those_of_the_package():
    """These choices are literals, because the tables of the package need Keras."""
    tables = {train.Backbone: BACKBONES, export.Format: formats.WRITERS, seg11valid.Net: PAPER_NETS}
    for literal, table in tables.items():
        assert typing.get_args(literal) == tuple(table)


def test_help_says_what_the_recipes_say():
    told = {parameter.name: parameter.help for parameter in COMMANDS["train"].params}
    assert told["size"] == "Height and width of crops; light: 304 400; cvpr: none; released: none."
    assert told["learning_rate"] == "Initial learning rate; light: 0.001; cvpr: 0.0001; released: 1e-10."


PROGRAM = [sys.executable, "-m", "fcn_keras"]
BARE = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def test_tensorflows_words_are_held_back_unless_asked():
    quiet = subprocess.run([*PROGRAM, "evaluate", "no.keras", "nowhere"], capture_output=True, text=True, env=BARE)
    assert quiet.returncode == 2 and quiet.stderr.startswith("fcn_keras: There is no nowhere in ")
    asked = BARE | {"TF_CPP_MIN_LOG_LEVEL": "0"}
    told = subprocess.run([*PROGRAM, "evaluate", "no.keras", "nowhere"], capture_output=True, text=True, env=asked)
    assert told.returncode == 2 and told.stderr.endswith(quiet.stderr) and len(told.stderr) > len(quiet.stderr)


def test_all_is_shown_if_tensorflow_cannot_start(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    broken = "import os\nos.write(2, b'words of C++\\n')\nraise ImportError('no AVX')\n"
    (tmp_path / "tensorflow" / "__init__.py").write_text(broken)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [BARE.get("PYTHONPATH")])])
    done = subprocess.run(
        [*PROGRAM, "evaluate", "no.keras", "shapes"], capture_output=True, text=True, env=BARE | {"PYTHONPATH": paths}
    )
    assert done.returncode == 2
    assert done.stderr == "words of C++\nfcn_keras: no AVX Fix: fcn-keras doctor says what is missing.\n"


# --- train, evaluate, segment ---


def test_a_run_folder(trained):
    files = {path.name for path in trained.iterdir()}
    expected = {
        "config.json",
        "environment.json",
        "history.csv",
        "curves.png",
        "samples.png",
        "best.keras",
        "last.keras",
    }
    assert expected | {"metrics.json", "metrics.md"} <= files
    assert "checkpoint.npz" not in files and not any(name.startswith("partial") for name in files)
    assert len((trained / "history.csv").read_text().splitlines()) == 1 + 2
    assert json.loads((trained / "config.json").read_text())["size"] == [64, 64]


def test_options_that_control_the_training(monkeypatch, capsys):
    asked = []

    def stop(recipe, data, directory, **options):
        asked.append((recipe, options))
        raise ValueError("enough")

    monkeypatch.setattr(training, "train", stop)
    words = ["--no-flip", "--loss", "dice", "--patience", "3", "--devices", "GPU:0,GPU:1", "--init-from", "a.keras"]
    main(["train", "shapes", *words, "--class-weights", "disc=2", "--class-weights", "a=b=0.5"])
    recipe, options = asked[0]
    assert recipe.augmentation == {"flip": False} and recipe.loss == "dice"
    assert recipe.class_weights == {"disc": 2.0, "a=b": 0.5}
    assert {name: options[name] for name in ("patience", "devices", "init_from")} == {
        "patience": 3,
        "devices": ["GPU:0", "GPU:1"],
        "init_from": "a.keras",
    }
    main(["train", "shapes", "--exchange-sides", "--cache", "--class-weights", "0.5", "--devices", "all"])
    recipe, options = asked[1]
    assert recipe.augmentation == {"cache": True, "flip": "exchange"} and recipe.class_weights == 0.5
    assert options["devices"] == "all" and options["patience"] is None and options["init_from"] is None
    capsys.readouterr()
    for words, message in (
        (["--no-flip", "--exchange-sides"], "expected one of the two"),
        (["--class-weights", "2"], "--class-weights 2: expected a number from 0 to 1"),
        (["--class-weights", "nan"], "expected a number from 0 to 1"),
        (["--class-weights", "=2"], "expected a number from 0 to 1, or a name and a weight"),
        (["--class-weights", "disc=two"], "a name and a weight"),
        (["--stages", "--init-from", "a.keras"], "--stages with --init-from"),
    ):
        assert main(["train", "shapes", *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert len(asked) == 2


def test_evaluate_measures_what_the_run_measured(trained, data, capsys):
    words = ["evaluate", str(trained / "last.keras"), "shapes", "--data-dir", str(data)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = json.loads((trained / "metrics.json").read_text())
    assert found["confusion"] == kept["confusion"]
    assert main(words) == 0
    tables = [text.partition("\n\n") for text in (capsys.readouterr().out, (trained / "metrics.md").read_text())]
    assert tables[0][2].strip() == tables[1][2].strip()
    assert "last.keras on validation of shapes, 5 images" in tables[0][0]
    best = kept["record"]["best"]
    assert f"best.keras: epoch {best['epoch']}, mean_iou {100 * best['score']:.1f}" in tables[1][0]


def test_evaluate_averages_over_scales(data, tmp_path, capsys):
    model = FCN32s(10, "mini_vgg", weights=None)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    model.save(tmp_path / "random.keras")
    words = ["evaluate", str(tmp_path / "random.keras"), "shapes", "--data-dir", str(data), "--json"]
    batches = datasets.load("shapes", "validation", data_dir=data, batch=1)
    for options, arguments in (
        ([], {}),
        (["--scale", "1", "--scale", "2", "--flip"], {"scales": (1, 2), "flip": True}),
    ):
        assert main([*words, *options]) == 0
        expected = evaluate(model, batches, **arguments).confusion
        assert json.loads(capsys.readouterr().out)["confusion"] == expected.tolist()
        assert (expected.sum(axis=0) > 0).sum() > 2  # it says several things


def test_segment_writes_masks_in_the_colors_of_the_run(trained, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype("uint8")
    Image.fromarray(pixels).save(photos / "a.png")
    words = ["segment", str(trained / "best.keras"), str(photos), "--out", str(out), "--overlays"]
    assert main(words) == 0
    assert "1 done, 0 existed already, 0 could not be read" in capsys.readouterr().out
    with Image.open(out / "a.png") as mask:
        palette = np.reshape(mask.getpalette(), (-1, 3))[:10]
        ids = np.asarray(mask)
    np.testing.assert_array_equal(ids, segment(keras.models.load_model(trained / "best.keras"), pixels))
    assert palette.tolist() == json.loads((trained / "config.json").read_text())["palette"]
    (photos / "b.png").write_bytes(b"no picture")
    assert main([*words, "--json"]) == 1
    records = json.loads(capsys.readouterr().out)
    assert [record["status"] for record in records] == ["skipped", "bad"] and "b.png" in records[1]["error"]


def test_ctrl_c_leaves_a_state_that_the_same_command_goes_on_from(data, trained, tmp_path, capsys, monkeypatch):
    words = ["train", "shapes", "--data-dir", str(data), "--directory", str(tmp_path / "run"), *SMALL]
    publish = training.Run._publish

    def stop(self, model, record):
        publish(self, model, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "_publish", stop)
        assert main(words) == 130
    assert "Run the same command again to continue" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint.npz").exists() and not (tmp_path / "run" / "metrics.json").exists()
    assert main(words) == 0
    found, unbroken = (json.loads((run / "metrics.json").read_text()) for run in (tmp_path / "run", trained))
    assert found["confusion"] == unbroken["confusion"]


def test_json_of_a_finished_run(data, trained, capsys):
    words = ["train", "shapes", "--data-dir", str(data), "--directory", str(trained), *SMALL, "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    kept = json.loads((trained / "metrics.json").read_text())
    assert told == {"directory": str(trained)} | {name: kept[name] for name in list(told)[1:]} and len(told) == 5


def test_stages(data, tmp_path, capsys, monkeypatch):
    """Each stage trains for one epoch. Options that the stages share can be changed."""
    recipe = STAGED_RECIPES["shapes"]
    few = tuple(dataclasses.replace(stage, epochs=1) for stage in recipe.stages)
    monkeypatch.setitem(STAGED_RECIPES, "shapes", dataclasses.replace(recipe, stages=few))
    words = ["train", "shapes", "--stages", "--data-dir", str(data), "--directory", str(tmp_path / "run")]
    words += ["--from-scratch", "--batch", "4"]
    assert main(words) == 0
    table = capsys.readouterr().out
    names = ["FCN-32s-fixed", "FCN-32s", "FCN-16s", "FCN-8s"]
    assert all(f"| {name} |" in table for name in names) and (tmp_path / "run" / "table.md").read_text() in table
    settings = json.loads((tmp_path / "run" / "FCN-8s" / "config.json").read_text())
    assert settings["batch"] == 4 and settings["weights"] is None
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "run" / "table.json").read_text()) and list(told) == names
    assert main(["train", "pets", "--stages"]) == 2
    assert "Found --stages for pets with the recipe light: expected shapes, camvid or voc" in capsys.readouterr().err


# --- check ---


def test_check_tells_by_its_status_whether_data_are_ready(tmp_path, capsys):
    root = write_folder(tmp_path / "mine")
    assert main(["check", str(root)]) == 0
    assert "Ready to train" in capsys.readouterr().out
    (root / "masks" / "01.png").unlink()
    assert main(["check", str(root), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"] and any("01.png" in file for f in report["findings"] for file, _ in f["files"])
    assert main(["check", str(tmp_path)]) == 2


def test_a_folder_of_ones_own_is_trained_and_measured(tmp_path, capsys):
    root, run = write_folder(tmp_path / "mine"), tmp_path / "run"
    more = ["--data-dir", str(tmp_path / "data")]
    assert main(["train", str(root), "--directory", str(run), "--epochs", "1", *SMALL[:-2], *more, "--json"]) == 0
    told = capsys.readouterr()
    assert "Preparing folder" in told.err and json.loads(told.out)["directory"] == str(run)
    assert main(["evaluate", str(run / "best.keras"), str(root), *more]) == 0
    assert "| class 2 |" in capsys.readouterr().out
    assert json.loads((run / "config.json").read_text())["class_names"] == ["class 0", "class 1", "class 2"]
    Image.new("L", (60, 40), 1).save(root / "masks" / "01.png")  # other data: another run
    assert main(["train", str(root), "--directory", str(run), "--epochs", "1", *SMALL[:-2], *more]) == 2
    told = capsys.readouterr().err
    assert "holds a run with other settings: " in told and "; prepared is " in told


# --- refusals ---


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "nothing"], ". Expected one of shapes, camvid"),
        (["train", "shapes", "--learning-rate", "1e9"], "the loss is"),
        (["train", "shapes", "--splits", "train", "nowhere"], "nowhere"),
        (["evaluate", "no.keras", "shapes"], "no.keras"),
        (["segment", "no.keras", "a.png"], "no.keras"),
        (["train", "tests", "--source", "x"], "expected one of the two"),
        (["train", "shapes", "--stages"], "Found --stages with --epochs: each stage has its own"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_with_status_2(words, told, data, tmp_path, capsys):
    train = words[0] == "train"
    more = ["--data-dir", str(data)] if words[0] != "segment" else []
    more += ["--directory", str(tmp_path), *SMALL] if train else []
    if words[1] == "tests":
        words = ["train", str(tmp_path), *words[2:]]
    assert main([*words, *more]) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err


def test_weights_that_cannot_be_fetched_are_told(data, tmp_path, capsys, monkeypatch):
    def Offline(weights):  # noqa: N802
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- no route to host")

    offline = dataclasses.replace(backbones.BACKBONES["mobilenet_v2"], build=backbones._wrap_application(Offline))
    monkeypatch.setitem(backbones.BACKBONES, "mobilenet_v2", offline)
    assert main(["train", "shapes", "--data-dir", str(data), "--directory", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert (
        "weights of Offline are not on this machine" in err
        and "Fix: connect to the network" in err
        and "Traceback" not in err
    )


def test_words_that_are_no_command(capsys):
    assert main(["fly"]) == 2
    assert main(["train", "shapes", "--recipe", "heavy"]) == 2
    assert "heavy" in capsys.readouterr().err


def test_doctor_prints_json(capsys):
    assert main(["doctor", "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)


# --- nets that come with the package ---


def test_models_lists_the_nets_that_come_with_the_package(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == shipped.names()
    assert all(re.fullmatch(r"\S+ +\d+\.\d MB  .*\.", line) for line in lines)
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: about["bytes"] for name, about in found.items()} == {
        name: shipped.path_of(name).stat().st_size for name in shipped.names()
    }


def test_models_prints_a_card(capsys):
    assert main(["models", "fcn8s_mini_vgg_shapes"]) == 0
    assert capsys.readouterr().out.strip() == shipped.card("fcn8s_mini_vgg_shapes").strip()
    assert main(["models", "fcn8s"]) == 2
    assert "model 'fcn8s': expected one of fcn16s_mini_vgg_shapes" in capsys.readouterr().err


def test_segment_evaluate_and_export_take_a_name(data, tmp_path, capsys):
    photo = samples.FOLDER / "cat.jpg"
    assert main(["segment", "fcn8s_mini_vgg_shapes", str(photo), "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "cat.png") as mask:
        palette = np.reshape(mask.getpalette(), (-1, 3))
        net = load_model("fcn8s_mini_vgg_shapes")
        np.testing.assert_array_equal(np.asarray(mask), segment(net, samples.photograph("cat")))
        np.testing.assert_array_equal(palette[: len(net.palette)], net.palette)
    assert main(["evaluate", "fcn32s_mini_vgg_shapes", "shapes", "--data-dir", str(data), "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["model"] == "fcn32s_mini_vgg_shapes"
    assert main(["export", "fcn8s_mini_vgg_shapes", str(tmp_path / "net.onnx")]) == 0
    assert (tmp_path / "net.onnx").stat().st_size > 1e6


def test_what_train_writes_knows_its_classes(trained):
    config = json.loads((trained / "config.json").read_text())
    model = load_model(trained / "last.keras")
    assert model.class_names == config["class_names"] and model.palette == config["palette"]


def test_segment_reads_the_colors_of_an_older_model_from_the_file_next_to_it(trained, tmp_path):
    model = load_model(trained / "last.keras")
    keras.Model(model.input, model.output).save(tmp_path / "last.keras")
    (tmp_path / "config.json").write_text(json.dumps({"palette": [[9, 8, 7]] * len(model.class_names)}))
    photo = samples.FOLDER / "cat.jpg"
    assert main(["segment", str(tmp_path / "last.keras"), str(photo), "--out", str(tmp_path / "masks")]) == 0
    with Image.open(tmp_path / "masks" / "cat.png") as mask:
        assert mask.getpalette()[:3] == [9, 8, 7]
