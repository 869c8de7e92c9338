"""The same numbers on every Keras backend, from the same weight files."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fcn_keras

CLASSES = 5

SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np, keras, fcn_keras

    folder, expected_backend = sys.argv[1:]
    assert keras.backend.backend() == expected_backend
    expected = np.load(f"{folder}/expected.npz")
    image, mask = expected["image"], expected["mask"]

    def close(found, name):
        found = keras.ops.convert_to_numpy(found)
        np.testing.assert_allclose(found, expected[name], atol=1e-4 * np.abs(expected[name]).max(), err_msg=name)

    coarse = fcn_keras.FCN16s(5, "mini_vgg", weights=None, upsampling="learned_inner")
    coarse.load_weights(f"{folder}/fcn16s.weights.h5")
    model = fcn_keras.upgrade(coarse)
    close(model(image), "refined")
    model.load_weights(f"{folder}/fcn8s.weights.h5")
    logits = model(image)
    close(logits, "logits")
    close(fcn_keras.losses.PixelCrossentropy()(mask, logits), "loss")
    metric = fcn_keras.metrics.SegmentationMetrics(5)
    metric.update_state(mask, logits)
    for name, value in metric.result().items():
        np.testing.assert_allclose(float(value), expected[name], rtol=1e-5, err_msg=name)
    metric.update_state(mask, logits * np.nan)
    assert all(np.isnan(float(value)) for value in metric.result().values())
    for wrong in (-1, 5, 255, 1.5):
        try:
            fcn_keras.metrics.confusion_matrix(np.array([0, 255]), np.array([wrong, 2]), 5)
        except ValueError as error:
            assert f"Found: {wrong}" in str(error)
        else:
            raise AssertionError(wrong)
    assert fcn_keras.segment(model, image[0]).shape == mask.shape[1:]
    assert fcn_keras.segment(model, image[0], scales=(0.75,), flip=True, progress=False).shape == mask.shape[1:]
    wide = np.tile(image[0], (1, 6, 1))
    whole, tiled = (fcn_keras.inference.predict_logits(model, wide, tile, progress=False) for tile in (None, 64))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))

    model.compile(keras.optimizers.SGD(1e-3), fcn_keras.losses.PixelCrossentropy(), metrics=[metric])
    before = [np.array(weights) for weights in model.get_weights()]
    logs = model.train_on_batch(image, mask, return_dict=True)
    assert np.isfinite(logs["loss"])
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    assert "tensorflow_datasets" not in sys.modules
""")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Weights, an image of odd size, and what TensorFlow makes of it."""
    folder = tmp_path_factory.mktemp("backends")
    generator = np.random.default_rng(0)

    def randomized(model, *layers):
        for name in layers:
            layer = model.get_layer(name)
            layer.set_weights([generator.normal(scale=0.3, size=w.shape) for w in layer.get_weights()])
        return model

    image = generator.uniform(0, 255, (1, 45, 70, 3)).astype("float32")
    mask = generator.choice([*range(CLASSES), 255], (1, 45, 70)).astype("uint8")
    coarse = fcn_keras.FCN16s(CLASSES, "mini_vgg", weights=None, upsampling="learned_inner")
    randomized(coarse, "score_fr", "score_pool4").save_weights(folder / "fcn16s.weights.h5")
    model = fcn_keras.upgrade(coarse)
    refined = model(image)
    randomized(model, "score_pool3").save_weights(folder / "fcn8s.weights.h5")
    logits = model(image)
    metric = fcn_keras.metrics.SegmentationMetrics(CLASSES)
    metric.update_state(mask, logits)
    numbers = {name: float(value) for name, value in metric.result().items()}
    loss = float(fcn_keras.losses.PixelCrossentropy()(mask, logits))
    np.savez(folder / "expected.npz", image=image, mask=mask, refined=refined, logits=logits, loss=loss, **numbers)
    return folder


AUTHORS = textwrap.dedent("""
    import sys
    import numpy as np, keras

    folder, expected_backend = sys.argv[1:]
    assert keras.backend.backend() == expected_backend
    sys.path.insert(0, folder)
    import peer
    from fcn_keras import paper

    stored = np.load(peer.STORED)
    for name in ("CaffeFCN8sAtOnce", "CaffeFCNAlexNet"):  # every kind of layer that the five nets have
        logits = stored[name]
        net = getattr(paper, name)(peer.CLASSES, width=1 / 16)
        paper.load_state_dict(net, peer.state_dict(name))
        found = keras.ops.convert_to_numpy(net(peer.picture(*peer.SIZE)))
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-4 * np.abs(logits).max(), err_msg=name)
""")


def run(script, folder, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"tests Keras' {backend} backend, and {backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", script, str(folder), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_same_logits_loss_and_metrics(expected, backend):
    run(SCRIPT, expected, backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_authors_nets_give_the_stored_logits(backend):
    run(AUTHORS, pathlib.Path(__file__).parent / "paper", backend)
