"""Two devices or two workers give the weights, the loss and the counts of one device on the same global batches.

The children run the functions of this file; the test process gives the reference.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from fcn_keras.losses import PixelCrossentropy
from fcn_keras.metrics import SegmentationMetrics
from fcn_keras.training import distribution, global_losses

EPOCHS, BATCH, CLASSES = 2, 4, 3
WEIGHTS = {"class_weights": [1, 2, 3]}


def batches():
    """Images with more and more void, so that replicas have different numbers of labelled pixels."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 32, 32, 3)).astype("float32")
    masks = generator.integers(0, CLASSES, (8, 32, 32)).astype("uint8")
    for number, mask in enumerate(masks):
        mask %= 1 + number % CLASSES
        mask[: 10 * (number % BATCH)] = 255
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(BATCH, drop_remainder=True)


def net(loss):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    model = keras.Model(image, keras.layers.Conv2D(CLASSES, 1)(x))
    model.compile(
        keras.optimizers.SGD(0.5, momentum=0.9), loss=loss, metrics=[SegmentationMetrics(CLASSES)], jit_compile=False
    )
    return model


def trained(loss, kind=None, devices=None, rate=None):
    """Trains a net. Returns its weights, its history and the result of `evaluate`."""
    with distribution.scope(kind, devices) as replicas:
        model = net(loss)
    assert replicas == (1 if kind is None else 2)
    if rate:
        model.optimizer.learning_rate = rate
    history = distribution.fit(model, batches(), EPOCHS).history
    arrays = {f"weight{n}": w for n, w in enumerate(model.get_weights())}
    arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
    return arrays | distribution.evaluate(model, batches())


def same(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)


# --- what the children do ---


def child_mirrored(folder):
    import tensorflow as tf

    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    devices = ["CPU:0", "CPU:1"]
    np.savez(folder / "mirrored.npz", **trained(distribution.GlobalPixelCrossentropy(**WEIGHTS), "mirrored", devices))
    np.savez(folder / "mirrored_plain.npz", **trained(PixelCrossentropy(**WEIGHTS), "mirrored", devices))
    summed = distribution.GlobalPixelCrossentropy(reduction="sum")
    np.savez(folder / "mirrored_sum.npz", **trained(summed, "mirrored", devices, rate=1e-5))
    with distribution.scope("mirrored", devices):
        model = net(PixelCrossentropy(**WEIGHTS))
    for data in (batches().unbatch().batch(3, drop_remainder=True), batches().unbatch().batch(4)):
        try:
            distribution.fit(model, data)
        except ValueError as error:
            print(error)


def child_worker(folder, index):
    loss = distribution.GlobalPixelCrossentropy(**WEIGHTS)
    np.savez(folder / f"worker{index}.npz", **trained(loss, "workers"))

    checkpoint, epochs = folder / "checkpoint.keras", []
    with distribution.scope("workers"):
        model = net(loss)
    save = keras.callbacks.ModelCheckpoint(str(checkpoint))
    distribution.fit(model, batches(), 1, callbacks=[save] if distribution.is_chief() else [])
    distribution.evaluate(model, batches())  # a meeting point: after it the checkpoint is complete
    with distribution.scope("workers"):
        model = keras.models.load_model(checkpoint)
    tell = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    distribution.fit(model, batches(), EPOCHS, initial_epoch=1, callbacks=[tell])
    assert epochs == [1]
    np.savez(folder / f"resumed{index}.npz", *model.get_weights())
    try:
        model.fit(batches(), verbose=0)
    except ValueError as error:
        print("fit:", str(error)[:60])
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        distribution.fit(model, batches(), 10_000)
    except Exception as error:
        print("died:", type(error).__name__, error)
    sys.stdout.flush()
    os._exit(0)  # TensorFlow's own farewell waits for the dead worker


def child_jax(folder):
    import jax

    assert len(jax.devices()) == 2
    np.savez(folder / "jax_one.npz", **trained(PixelCrossentropy(**WEIGHTS)))
    np.savez(folder / "jax_two.npz", **trained(PixelCrossentropy(**WEIGHTS), "data_parallel"))


def child_jax_worker(folder, index):
    np.savez(folder / f"jax_worker{index}.npz", **trained(PixelCrossentropy(**WEIGHTS), "workers"))
    assert distribution.is_chief() == (index == 0)


def trained_by_recipe(directory, devices=None, loss="crossentropy", interrupt=False):
    """Trains a run in a folder, and interrupts it after its first epoch and continues it if asked."""
    from little import BACKBONE

    from fcn_keras.training import Recipe, train

    recipe = Recipe(
        backbone=BACKBONE,
        weights=None,
        epochs=2,
        size=None,
        scales=None,
        ema=0.5,
        class_weights={"b": 3},
        loss=loss,
        optimizer="sgd",
        learning_rate=0.05,
    )
    distribution.find_engine(devices)  # before anything computes
    options = {"class_names": ["a", "b", "c"], "samples": 0, "verbose": 0, "devices": devices}
    for stop in [True, False] if interrupt else [False]:
        stopping = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, stop=stop: 1 / (1 - stop * epoch))
        try:
            run = train(recipe, (batches(), batches()), directory, callbacks=[stopping], **options)
        except ZeroDivisionError:
            assert stop
    return run


def read_run(directory):
    """The nets and the numbers in the folder of a run."""
    from fcn_keras.models import load_model

    found = {f"weight{n}": each for n, each in enumerate(load_model(directory / "last.keras").get_weights())}
    content = json.loads((directory / "metrics.json").read_text())
    for epoch in content["record"]["history"]:
        found |= {f"{name}{epoch['epoch']}": value for name, value in epoch.items() if name != "seconds"}
    return found | {"mean_iou": content["mean_iou"]}


def child_mirrored_train(folder):
    import tensorflow as tf

    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    devices = ["CPU:0", "CPU:1"]
    trained_by_recipe(folder / "mirrored", devices, interrupt=True)
    trained_by_recipe(folder / "focal", devices, loss="focal")
    for asked, options in ((devices, {"loss": "dice"}), ("none", {})):
        try:
            trained_by_recipe(folder / "refused", asked, **options)
        except ValueError as error:
            print(error)
    try:
        trained_by_recipe(folder / "focal", loss="focal")
    except ValueError as error:
        print(error)


def child_worker_train(folder, index):
    run = trained_by_recipe(folder / "workers", "all", interrupt=True)
    assert (run.directory == folder / "workers") == (index == 0) and run.finished
    if index:
        np.savez(folder / "other.npz", **read_run(run.directory))


# --- starting them ---


def start(folder, name, *arguments, **environment):
    code = f"import pathlib, test_distribution as t; t.{name}(pathlib.Path({str(folder)!r}), *{arguments!r})"
    path = os.pathsep.join([os.path.dirname(__file__), str(pathlib.Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def cluster():
    """TF_CONFIG of two workers, on ports that were free a moment ago."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}) for index in (0, 1)
    ]


def outcome(child, returncode=0):
    try:
        out, err = child.communicate(timeout=240)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == returncode, err[-4000:]
    return out


@pytest.fixture(scope="module")
def expected():
    return trained(PixelCrossentropy(**WEIGHTS))


def test_two_mirrored_devices_are_one(tmp_path, expected):
    told = outcome(start(tmp_path, "child_mirrored"))
    same(np.load(tmp_path / "mirrored.npz"), expected)
    summed = trained(PixelCrossentropy(reduction="sum"), rate=1e-5)
    found = np.load(tmp_path / "mirrored_sum.npz")
    for name in ("weight0", "weight1", "weight2", "weight3"):
        np.testing.assert_allclose(found[name], summed[name], rtol=0, atol=2e-5)
    np.testing.assert_allclose(found["history_loss"], summed["history_loss"], rtol=1e-4)
    plain = np.load(tmp_path / "mirrored_plain.npz")  # a mean of means: another loss, and other weights
    assert abs(plain["history_loss"][0] - expected["history_loss"][0]) > 1e-4
    assert np.abs(plain["weight0"] - expected["weight0"]).max() > 1e-4
    assert "Found batches of ['3'] images for 2 replicas" in told
    assert "Found batches of ['None'] images for 2 replicas" in told


def test_two_workers_are_one_and_resume_and_tell_of_a_death(tmp_path, expected):
    children = [start(tmp_path, "child_worker", n, TF_CONFIG=text) for n, text in enumerate(cluster())]
    outcome(children[1], -signal.SIGKILL)
    told = outcome(children[0])
    weights = [expected[f"weight{n}"] for n in range(4)]
    for index in (0, 1):
        same(np.load(tmp_path / f"worker{index}.npz"), expected)
        for found, weight in zip(np.load(tmp_path / f"resumed{index}.npz").values(), weights, strict=True):
            np.testing.assert_allclose(found, weight, rtol=0, atol=1e-5)
    assert "fit: Attempt to convert a value (PerReplica:{" in told  # when Keras fixes this, `fit` here can go
    assert "died: UnavailableError" in told and "Restart your program to reset" in told


def test_data_parallel_on_jax_is_one_device(tmp_path):
    pytest.importorskip("jax")
    flags = "--xla_force_host_platform_device_count=2"
    alone = start(tmp_path, "child_jax", KERAS_BACKEND="jax", XLA_FLAGS=flags)
    texts = cluster()
    workers = [start(tmp_path, "child_jax_worker", n, KERAS_BACKEND="jax", TF_CONFIG=texts[n]) for n in (0, 1)]
    for child in (alone, *workers):
        outcome(child)
    one = np.load(tmp_path / "jax_one.npz")
    for name in ("jax_two", "jax_worker0", "jax_worker1"):
        same(np.load(tmp_path / f"{name}.npz"), one)


def test_a_run_on_two_devices_is_the_run_on_one(tmp_path):
    told = outcome(start(tmp_path, "child_mirrored_train"))
    trained_by_recipe(tmp_path / "one")
    same(read_run(tmp_path / "mirrored"), read_run(tmp_path / "one"), 1e-4)
    trained_by_recipe(tmp_path / "one_focal", loss="focal")
    same(read_run(tmp_path / "focal"), read_run(tmp_path / "one_focal"), 1e-4)
    assert json.loads((tmp_path / "mirrored" / "config.json").read_text())["devices"] == 2
    assert "Found the loss PixelDice on several devices" in told and "Found devices='none'" in told
    assert "devices is 2 there, None here" in told


def test_a_run_on_two_workers_is_the_run_on_one(tmp_path):
    children = [start(tmp_path, "child_worker_train", n, TF_CONFIG=text) for n, text in enumerate(cluster())]
    for child in children:
        outcome(child)
    trained_by_recipe(tmp_path / "one")
    expected = read_run(tmp_path / "one")
    same(read_run(tmp_path / "workers"), expected, 1e-4)
    same(dict(np.load(tmp_path / "other.npz")), expected, 1e-4)


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match="'data_parallel' on the backend 'tensorflow'.*KERAS_BACKEND"):
        distribution.scope("data_parallel").__enter__()
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="Found 0 worker addresses in TF_CONFIG=None"):
        distribution.scope("workers").__enter__()
    monkeypatch.setenv("TF_CONFIG", "{cluster")
    with pytest.raises(ValueError, match="TF_CONFIG cannot be read"):
        distribution.is_chief()


@pytest.mark.parametrize(
    ("cluster", "task", "chief"),
    [
        ({}, {}, True),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 0}, True),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, False),
        ({"chief": ["c:1"], "worker": ["a:1", "b:1"]}, {"type": "chief", "index": 0}, True),
        ({"chief": ["c:1"], "worker": ["a:1", "b:1"]}, {"type": "worker", "index": 0}, False),
        ({"chief": ["c:1"], "worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, False),
        ({"worker": ["a:1"], "evaluator": ["e:1"]}, {"type": "evaluator", "index": 0}, False),
        ({"worker": ["a:1"], "ps": ["p:1"]}, {"type": "ps", "index": 0}, False),
    ],
)
def test_one_process_of_a_cluster_is_the_chief(monkeypatch, cluster, task, chief):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert distribution.is_chief() == chief


def test_a_chief_and_its_workers_stand_in_one_order(monkeypatch):
    """JAX identifies processes by number. The chief is the first, and no two are equal."""
    members = {"chief": ["c:1"], "worker": ["a:1", "b:1"]}
    tasks = [("chief", 0), ("worker", 0), ("worker", 1)]
    for number, (kind, index) in enumerate(tasks):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": members, "task": {"type": kind, "index": index}}))
        assert distribution._read_cluster() == (["c:1", "a:1", "b:1"], number)


@pytest.mark.parametrize("weights", [None, [1, 2, 3]])
def test_labels_outside_the_classes_weigh_nothing_in_compiled_code(weights, monkeypatch):
    """XLA cannot raise an error for them. The loss of a batch is the same with void in their place."""

    class TwoReplicas:
        num_replicas_in_sync = 2

        def all_reduce(self, operation, value):
            return value + 5.0  # the weight of the other replica

    import tensorflow as tf

    monkeypatch.setattr(global_losses, "_get_replica_context", TwoReplicas)
    loss = tf.function(distribution.GlobalPixelCrossentropy(class_weights=weights), jit_compile=True)
    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 2, 4, CLASSES)).astype("float32"))
    found = [loss(tf.constant([[[0, 1, 2, other], [2, other, 1, 0]]]), logits) for other in (255, CLASSES, 99, -7)]
    assert float(found[0]) > 0
    np.testing.assert_allclose(found[1:], found[0], rtol=1e-6)
