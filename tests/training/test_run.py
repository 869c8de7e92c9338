"""A run that is killed, that is interrupted, that fills the disk, or whose loss is NaN; and the files in its folder."""

import csv
import errno
import gc
import json
import math
import os
import pathlib
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import _files, visualization
from fcn_keras.inference.evaluate import evaluate
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.metrics import METRICS
from fcn_keras.training import LayerwiseAdamW, Polynomial, Run, checkpoints, logs

NAMES = ["dark", "bright", "never"]
STEPS, BATCH, SIZE = 5, 2, 16
pause = 0  # seconds before each batch, for a run that is to be killed


def scenes(count, seed):
    generator = np.random.default_rng(seed)
    images = generator.uniform(0, 255, (count, SIZE, SIZE, 3)).astype("float32")
    masks = (images.mean(-1) > 128).astype("uint8")
    masks[:, :2] = 255
    return images, masks


def train(seed):
    images, masks = scenes(STEPS * BATCH, seed=0)

    def batches():
        for chosen in np.random.default_rng(seed).permutation(STEPS * BATCH).reshape(STEPS, BATCH):
            time.sleep(pause)
            yield images[chosen], masks[chosen]

    signature = (tf.TensorSpec((None, SIZE, SIZE, 3), "float32"), tf.TensorSpec((None, SIZE, SIZE), "uint8"))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(STEPS))


def net():
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    never = keras.initializers.Constant([0.0, 0.0, -100.0])
    score = keras.layers.Conv2D(len(NAMES), 1, bias_initializer=never, dtype="float32")
    return keras.Model(image, score(x), name="tiny")


def averaging(model, steps):
    return LayerwiseAdamW(Polynomial(1e-2, steps), decay=1e-3, use_ema=True, ema_momentum=0.8)


def run(directory, **options):
    """A run with everything that has a state: dropout, batch normalisation, averaged weights, checkpoints in epochs."""
    validation = tf.data.Dataset.from_tensor_slices(scenes(4, seed=1)).batch(2)
    options = {"epochs": 4, "checkpoint_steps": 2, "samples": 0, "verbose": 0, **options}
    return Run(directory, net, options.pop("optimizer", averaging), train, validation, NAMES, **options)


def without_seconds(history):
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def assert_same(ours, our_model, theirs, their_model):
    pairs = zip(our_model.variables, their_model.variables, strict=True)
    both = zip(our_model.optimizer.variables, their_model.optimizer.variables, strict=True)
    for a, b in [*pairs, *both]:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert without_seconds(ours.record()["history"]) == without_seconds(theirs.record()["history"])
    for name in ("last.keras", "best.keras"):
        models = [keras.models.load_model(of.directory / name).get_weights() for of in (ours, theirs)]
        for a, b in zip(*models, strict=True):
            np.testing.assert_array_equal(a, b)
    assert ours.results()["metrics"] == theirs.results()["metrics"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    whole = run(tmp_path_factory.mktemp("unbroken"))
    return whole, whole.run()


def test_killed_at_random_moments_it_is_the_unbroken_run_byte_for_byte(unbroken, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); import test_run as t; "
        f"t.pause = 0.12; t.run({str(tmp_path)!r}).run()"
    )
    moments, places = random.Random(5), []
    for kill in range(3):
        victim = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
        started = tmp_path / "environment.json"
        before = run(tmp_path).record()
        while victim.poll() is None:  # until it trains: its first checkpoint of this life
            if started.exists() and run(tmp_path).record() != before:
                break
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.5))
        victim.send_signal(signal.SIGKILL)
        _, errors = victim.communicate()
        assert victim.returncode == -signal.SIGKILL, errors[-2000:]
        record = run(tmp_path).record()  # whatever was being written: what is read is whole
        places.append((record["epoch"], record["step"]))
        assert len(record["history"]) == record["epoch"] and record["step"] < STEPS, kill
    assert places == sorted(set(places)) and places[-1] < (4, 0)  # each life got further, none to the end
    (tmp_path / "partial-0123-checkpoint.npz").write_bytes(b"half a file")
    (tmp_path / "partial-4567-last.keras").write_bytes(b"half a file")

    resumed = run(tmp_path)
    model = resumed.run()
    assert_same(resumed, model, *unbroken)
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 4  # an entry for each start
    assert not list(tmp_path.glob("partial-*")) and not (tmp_path / "running.json").exists()


def test_out_of_disk_inside_a_checkpoint(unbroken, tmp_path, monkeypatch):
    def full(file, **arrays):
        pathlib.Path(file).write_bytes(b"PK half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    half = run(tmp_path)
    save, calls = np.savez, []

    def fills(file, **arrays):
        calls.append(file)
        (save if len(calls) < 5 else full)(file, **arrays)

    monkeypatch.setattr(np, "savez", fills)
    with pytest.raises(
        OSError, match=r"Could not write .*checkpoint\.npz: No space left.*is unchanged.*Fix: free"
    ) as told:
        half.run()
    assert told.value.errno == errno.ENOSPC
    monkeypatch.setattr(np, "savez", save)
    assert half.record()["epoch"] == 1 and half.record()["step"] == 2
    assert not list(tmp_path.glob("partial-*"))
    again = run(tmp_path)
    assert_same(again, again.run(), *unbroken)


@pytest.mark.parametrize("name", ["checkpoint.npz", "last.keras", "history.csv"])
def test_killed_between_any_two_files(name, unbroken, tmp_path, monkeypatch):
    """The process dies before it renames one file of the second epoch."""
    replace, seen = os.replace, []

    def dies(source, target):
        seen.append(pathlib.Path(target).name == name)
        if sum(seen) == {"checkpoint.npz": 6}.get(name, 2):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(_files.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path).run()
    monkeypatch.setattr(_files.os, "replace", replace)
    again = run(tmp_path)
    assert_same(again, again.run(), *unbroken)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the half file, when it is collected
def test_a_real_limit_on_file_size_leaves_the_earlier_net_whole(tmp_path):
    path, model = tmp_path / "last.keras", net()
    _files.atomic_write(path, model.save)
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="Could not write .*last.keras.*Fix"):
            _files.atomic_write(path, model.save)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["last.keras"]


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(tmp_path):
    """The learning rate is 0 at first, and 1e30 from the seventh step."""

    def explodes(model, steps):
        boundaries = keras.optimizers.schedules.PiecewiseConstantDecay([6], [0.0, 1e30])
        return keras.optimizers.SGD(boundaries)

    bad = run(tmp_path, optimizer=explodes, name="bad")
    with pytest.raises(
        FloatingPointError, match=r"bad: the loss is (nan|inf) at epoch 2, step \d.*checkpoint\.npz holds .*rate"
    ):
        bad.run()
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=False) as kept:
        assert all(np.isfinite(kept[name]).all() for name in kept.files if name != "record")
    weights = keras.models.load_model(tmp_path / "last.keras").get_weights()
    assert all(np.isfinite(array).all() for array in weights)


def test_what_a_run_leaves(tmp_path):
    drawn = run(tmp_path, epochs=2, samples=2, palette=np.eye(3, dtype="uint8") * 255, settings={"recipe": "mine"})
    model = drawn.run()
    written = {path.name for path in tmp_path.iterdir()} - {"tensorboard", ".lock"}
    assert written == {
        "config.json", "environment.json", "history.csv", "last.keras", "best.keras", "metrics.json", "metrics.md",
        "curves.png", "samples.png",
    }  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"] == "mine" and config["epochs"] == 2 and config["class_names"] == NAMES
    (start,) = json.loads((tmp_path / "environment.json").read_text())
    assert start["keras"] == keras.__version__ and start["backend"] == "tensorflow" and start["devices"]
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"] and float(rows[1]["val_mean_iou"]) <= 1
    measured = evaluate(keras.models.load_model(tmp_path / "last.keras"), drawn.validation, NAMES)
    summary = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)  # no NaN
    assert {name: summary[name] for name in METRICS} == pytest.approx(measured.metrics)
    assert summary["per_class_iou"]["never"] is None and math.isnan(drawn.results()["per_class_iou"]["never"])
    assert "| never | – | – | 0.0 |" in (tmp_path / "metrics.md").read_text()
    for name in ("curves.png", "samples.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    before = (tmp_path / "last.keras").stat().st_mtime_ns
    again = run(
        tmp_path, epochs=2, samples=2, palette=np.eye(3, dtype="uint8") * 255, settings={"recipe": "mine"}
    ).run()
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "last.keras").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other settings: recipe is 'mine' there, 'yours' here"):
        run(tmp_path, epochs=2, palette=np.eye(3, dtype="uint8") * 255, settings={"recipe": "yours"}).run()


def test_samples_of_a_binary_net_by_night(tmp_path, monkeypatch):
    """One logit stands for two classes. An image whose pixels are only 0 and 1 is not an image in 0–1."""
    image = np.zeros((1, 8, 8, 3), "float32")
    image[0, 2:4, :, 0] = 1
    mask = np.zeros((1, 8, 8), "uint8")
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1)])
    model.set_weights([np.array([2.0, 0, 0]).reshape(1, 1, 3, 1), np.array([-1.0])])
    shown, compare = {}, visualization.compare

    def watched(images, columns, *rest):
        shown.update(columns)
        return compare(images, columns, *rest)

    monkeypatch.setattr(visualization, "compare", watched)
    validation = tf.data.Dataset.from_tensor_slices((image, mask)).batch(1)
    drawn = Run(tmp_path, None, None, None, validation, ["ground", "light"], 1, samples=1)
    logs.draw_results(drawn, model, [{"epoch": 1, "seconds": 1.0, "loss": 1.0}])
    np.testing.assert_array_equal(shown["prediction"][0], image[0, ..., 0])
    assert (tmp_path / "samples.png").exists()


def test_averages_are_what_is_measured_and_saved(tmp_path, monkeypatch):
    """The averages are computed by hand from the raw weights, which a checkpoint after each step shows."""
    watched = run(tmp_path, epochs=1, checkpoint_steps=1)
    raw, save = [], checkpoints.save

    def record(path, state, progress):
        save(path, state, progress)
        raw.append([keras.ops.convert_to_numpy(v).copy() for v in state["own"]])

    monkeypatch.setattr(checkpoints, "save", record)
    model = watched.run()
    average = raw[0]
    for step in raw[1:STEPS]:
        average = [0.8 * a + 0.2 * b for a, b in zip(average, step, strict=True)]
    trained = {id(variable) for variable in model.trainable_variables}
    for variable, mine, last in zip(model.variables[: len(average)], average, raw[-1], strict=True):
        if id(variable) in trained:
            np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), mine, rtol=1e-5, atol=1e-6)
            assert np.abs(mine - last).max() > 0


def variant(folder, scale=1 / 127.5, policy="float32", rate=1e-2, labels=1, height=SIZE):
    """A run whose weights have the same shapes for all arguments."""

    def build():
        x = image = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(scale, -1)(x)
        x = keras.layers.Conv2D(3, 1, dtype=policy)(x)
        return keras.Model(image, keras.layers.Activation("linear", dtype="float32")(x))

    images, masks = scenes(4, seed=labels)
    images = np.resize(images, (4, height, SIZE, 3))
    asked = run(folder, optimizer=lambda model, steps: keras.optimizers.SGD(Polynomial(rate, steps)), epochs=2)
    masks = np.resize(masks, (4, height, SIZE))
    asked.build, asked.validation = build, tf.data.Dataset.from_tensor_slices((images, masks)).batch(2)
    return asked


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory):
    """The folder of a `variant` that was stopped after its first epoch."""
    begun = variant(tmp_path_factory.mktemp("half"))
    begun.train = lambda seed: (_ for _ in ()).throw(KeyboardInterrupt) if seed else train(seed)
    with pytest.raises(KeyboardInterrupt):
        begun.run()
    assert begun.record()["epoch"] == 1
    return begun.directory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 1 / 255}, "checkpoint.npz belongs to another net: "),
        ({"policy": "mixed_bfloat16"}, "checkpoint.npz belongs to another net: "),
        ({"rate": 1e-3}, "checkpoint.npz belongs to another optimizer: "),
        ({"labels": 2}, "other settings: validation_labels is "),
        ({"height": 24}, "other settings: validation_batches is .*; validation_labels is "),
    ],
)
def test_a_resumed_run_accepts_nothing_that_changes_its_result(half_trained, change, message):
    with pytest.raises(ValueError, match=message):
        variant(half_trained, **change).run()


def test_a_resumed_run_accepts_the_same_net_whose_layers_keras_has_numbered_anew(half_trained, tmp_path):
    shutil.copytree(half_trained, tmp_path, dirs_exist_ok=True)
    resumed = variant(tmp_path)
    resumed.run()
    assert resumed.finished and resumed.record()["epoch"] == 2


def unknown_length(dataset):
    return dataset.filter(lambda image, mask: True)


def test_data_of_unknown_length_are_counted(tmp_path, capsys):
    counted = run(tmp_path, epochs=1)
    counted.train, counted.validation = lambda seed: unknown_length(train(seed)), unknown_length(counted.validation)
    counted.run()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["steps_per_epoch"] == STEPS and counted.model() is not None
    told = "Counting the {} batches, because their dataset does not know its length.\n"
    assert capsys.readouterr().out == told.format("validation") + told.format("training")


@pytest.mark.parametrize("part", ["training", "validation"])
def test_data_without_an_end_are_refused(part, tmp_path):
    endless = run(tmp_path)
    if part == "training":
        endless.train = lambda seed: train(seed).repeat()
    else:
        endless.validation = endless.validation.repeat()
    with pytest.raises(
        ValueError, match=f"Found {part} data without an end: expected a finite dataset. Fix: use dataset.take"
    ):
        endless.run()


def test_another_version_is_told_and_may_continue(half_trained, tmp_path):
    shutil.copytree(half_trained, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "environment.json"
    entries = json.loads(path.read_text())
    entries[-1] |= {"keras": "3.14.0", "backend": "jax"}
    path.write_text(json.dumps(entries))
    with pytest.warns(
        UserWarning, match=rf"keras {keras.__version__} \(before: 3.14.0\), backend tensorflow \(before: jax\)"
    ):
        resumed = variant(tmp_path)
        resumed.run()
    assert resumed.finished


def test_unknown_monitor(tmp_path):
    with pytest.raises(ValueError, match="monitor='loss': expected one of pixel_accuracy"):
        run(tmp_path, monitor="loss")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_as_well(policy, unbroken, tmp_path):
    def half():
        keras.config.set_dtype_policy(policy)
        try:
            return net()
        finally:
            keras.config.set_dtype_policy("float32")

    mixed = run(tmp_path, loss=PixelCrossentropy())
    mixed.build = half
    model = mixed.run()
    assert model.layers[2].compute_dtype == policy.removeprefix("mixed_") and model.output.dtype == "float32"
    assert hasattr(model.optimizer, "inner_optimizer") == (policy == "mixed_float16")
    ours, theirs = (r.record()["history"][-1]["loss"] for r in (mixed, unbroken[0]))
    assert ours == pytest.approx(theirs, abs=0.05)


def test_a_second_run_in_the_folder_is_refused_and_the_first_one_goes_on(tmp_path):
    """A second process and a second run of this process try to train while the first run trains."""
    script = (
        f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); import test_run as t; "
        f"t.run({str(tmp_path)!r}, epochs=1).run()"
    )
    told = []

    def busy(seed):
        if (tmp_path / "environment.json").exists() and not told:
            second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            told.append(second.stderr.splitlines()[-1])
            with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on "):
                run(tmp_path, epochs=1).run()
        return train(seed)

    first = run(tmp_path, epochs=1)
    first.train = busy
    first.run()
    assert first.finished
    assert told[0].startswith(f"BlockingIOError: Another run is training in {tmp_path}: ")
    assert f"process {os.getpid()} on {platform.node()}, since 20" in told[0]
    run(tmp_path, epochs=1).run()


def test_a_finished_run_needs_no_lock(tmp_path):
    run(tmp_path, epochs=1).run()
    with _files.lock_folder(tmp_path):
        assert run(tmp_path, epochs=1).run() is not None


def test_what_was_trained_before_is_told(tmp_path, capsys):
    run(tmp_path, epochs=1, verbose=2).run()
    assert "before" not in capsys.readouterr().out
    run(tmp_path, epochs=1, verbose=2).run()
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{'net':<14} 1 of 1 epochs were trained before; nothing is left to train."
    assert "epoch   1/1" in told[1]


def test_a_finished_run_cannot_be_shortened_or_changed(tmp_path):
    run(tmp_path, epochs=2).run()
    with pytest.raises(ValueError, match="epochs is 2 there, 1 here.*Only a finished run can get other epochs"):
        run(tmp_path, epochs=1).run()
    with pytest.raises(ValueError, match="epochs is 2 there, 3 here; seed is 0 there, 1 here"):
        run(tmp_path, epochs=3, seed=1).run()


def test_a_run_that_is_not_finished_gets_no_other_epochs(half_trained):
    longer = variant(half_trained)
    longer.epochs = 3
    with pytest.raises(ValueError, match="epochs is 2 there, 3 here.*Only a finished run"):
        longer.run()


class Seen(keras.callbacks.Callback):
    """Sees the learning rate before each epoch, and the averages with which it begins."""

    def __init__(self):
        super().__init__()
        self.rates, self.starts, self.began, self.ended = [], [], 0, 0

    def on_train_begin(self, logs=None):
        self.began += 1

    def on_train_end(self, logs=None):
        self.ended += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append((epoch, float(self.model.optimizer.learning_rate)))
        self.starts.append([np.array(each) for each in self.model.get_weights()])


def test_a_finished_run_is_prolonged_from_its_last_net(tmp_path):
    first = run(tmp_path, epochs=2, callbacks=[Seen()])
    first.run()
    before = keras.models.load_model(tmp_path / "last.keras").get_weights()
    history, seen = first.record()["history"], Seen()
    longer = run(tmp_path, epochs=4, callbacks=[seen])
    longer.run()
    assert longer.finished and longer.record()["epoch"] == 4 and longer.record()["history"][:2] == history
    for a, b in zip(seen.starts[0], before, strict=True):
        np.testing.assert_array_equal(a, b)
    schedule = Polynomial(1e-2, 4 * STEPS)
    np.testing.assert_allclose([rate for _, rate in seen.rates], [schedule(2 * STEPS), schedule(3 * STEPS)], rtol=1e-5)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["epochs"] == 4 and config["prolonged"] == [2]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 5
    after = keras.models.load_model(tmp_path / "last.keras").get_weights()
    assert all(np.abs(a).max() < 200 for a in after) and any((a != b).any() for a, b in zip(after, before, strict=True))
    run(tmp_path, epochs=4, callbacks=[Seen()]).run()  # the same again changes nothing
    with pytest.raises(ValueError, match="epochs is 4 there, 2 here"):
        run(tmp_path, epochs=2, callbacks=[Seen()]).run()
    run(tmp_path, epochs=5, callbacks=[Seen()]).run()
    assert json.loads((tmp_path / "config.json").read_text())["prolonged"] == [2, 4]


@pytest.mark.parametrize("name", ["write_config", "unlink", "save"])
def test_prolonging_may_be_killed_at_any_moment(name, tmp_path, monkeypatch):
    run(tmp_path / "whole", epochs=2).run()
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    whole = run(tmp_path / "whole", epochs=4)
    model = whole.run()

    unlink = pathlib.Path.unlink

    def kill(path, *args, **options):
        if name == "unlink" and path.name != "metrics.json":
            return unlink(path, *args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr({"write_config": logs, "save": checkpoints, "unlink": pathlib.Path}[name], name, kill)
        run(tmp_path / "killed", epochs=4).run()
    killed = run(tmp_path / "killed", epochs=4)
    assert_same(killed, killed.run(), whole, model)


def falling(directory, **options):
    """A run whose metric never rises after the first epoch."""
    stuck = run(directory, epochs=9, checkpoint_steps=0, **options)
    stuck.measure = lambda model: {"loss": 1.0, "mean_iou": 0.5}
    return stuck


def test_patience_stops_early_and_an_interrupted_run_stops_at_the_same_epoch(tmp_path, capsys):
    stopped = falling(tmp_path / "whole", patience=3, verbose=2)
    stopped.run()
    record = stopped.record()
    assert record["epoch"] - record["best"]["epoch"] == 3 and record["epoch"] < 9 and stopped.finished
    assert "stops early: mean_iou has not risen for 3 epochs." in capsys.readouterr().out
    broken = falling(tmp_path / "broken", patience=3)
    broken.train = lambda seed: (_ for _ in ()).throw(KeyboardInterrupt) if seed == 2 else train(seed)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    again = falling(tmp_path / "broken", patience=3)
    again.run()
    assert again.record()["epoch"] == record["epoch"]
    with pytest.raises(ValueError, match="patience is 3 there, None here"):
        falling(tmp_path / "whole").run()
    longer = falling(tmp_path / "whole", patience=3)
    longer.epochs = 20
    longer.run()  # the patience begins anew
    assert longer.record()["epoch"] == record["epoch"] + 3


def test_callbacks_see_one_fit(tmp_path):
    seen = Seen()
    stop = keras.callbacks.EarlyStopping("val_mean_iou", mode="max", patience=2)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    stopped = falling(tmp_path / "run", callbacks=[seen, stop, log])
    stopped.run()
    epochs = stopped.record()["epoch"]
    assert (seen.began, seen.ended) == (1, 1) and [epoch for epoch, _ in seen.rates] == list(range(epochs))
    assert epochs < 9 and stop.stopped_epoch == epochs - 1 and stopped.finished
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + epochs and "val_mean_iou" in rows[0]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["callbacks"] == [
        "Seen",
        "EarlyStopping",
        "CSVLogger",
    ]
    with pytest.raises(ValueError, match="restore_best_weights=True.*best.keras holds them"):
        run(tmp_path, callbacks=[keras.callbacks.EarlyStopping(restore_best_weights=True)])
    with pytest.raises(ValueError, match="patience=2 and validate_every=0"):
        run(tmp_path, patience=2, validate_every=0)


def test_a_run_that_could_not_begin_binds_nobody(tmp_path):
    def no_net():
        raise OSError("weights could not be downloaded")

    begun = run(tmp_path, epochs=1)
    begun.build = no_net
    with pytest.raises(OSError, match="could not be downloaded"):
        begun.run()
    assert run(tmp_path, epochs=2, settings={"backbone": "another"}).run() is not None
    assert json.loads((tmp_path / "config.json").read_text())["epochs"] == 2
