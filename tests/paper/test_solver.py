"""The authors' solver compared with NumPy, with PyTorch's SGD, and with itself on another loss and other backends."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import pytorch_references
import tensorflow as tf

from fcn_keras.losses import PixelCrossentropy
from fcn_keras.paper import solver
from fcn_keras.paper.solver import CVPR, RELEASED, CaffeSGD, Schedule, convert_l2, convert_learning_rate

CLASSES = 4


def numpy_step(parameters, gradients, velocities, rate, momentum, l2):
    """Caffe's update of a kernel and a bias, in double precision; returns new parameters and velocities."""
    kernel, bias = parameters
    decayed = [gradients[0] + l2 * kernel, gradients[1]]
    rates = [rate, 2 * rate]
    velocities = [momentum * v - r * g for v, r, g in zip(velocities, rates, decayed, strict=True)]
    return [kernel + velocities[0], bias + velocities[1]], velocities


def numpy_gradients(parameters, images, masks, reduction):
    """The gradients of softmax regression on pixels, ``x.T (p - y)`` and ``sum (p - y)``, without void."""
    labelled = masks != 255
    x, y = images[labelled], np.eye(CLASSES)[masks[labelled]]
    scores = x @ parameters[0] + parameters[1]
    p = np.exp(scores - scores.max(-1, keepdims=True))
    difference = p / p.sum(-1, keepdims=True) - y
    count = 1 if reduction == "sum" else len(x)
    return [x.T @ difference / count, difference.sum(0) / count]


def some_arrays(seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(3, CLASSES)), generator.normal(size=CLASSES)]


def variables(arrays):
    return [keras.Variable(a.astype("float32"), name=n) for a, n in zip(arrays, ("kernel", "bias"), strict=True)]


def arrays_of(values):
    return [keras.ops.convert_to_numpy(value) for value in values]


def assert_close(found, expected, rtol=1e-5):
    for ours, theirs in zip(arrays_of(found), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


SETTINGS = {"learning_rate": 0.03, "momentum": 0.99, "l2": 0.4}  # a decay large enough to be seen
NUMPY = {"rate": 0.03, "momentum": 0.99, "l2": 0.4}


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_equal_numpys(steps):
    """We compare float32 with float64, to a relative 1e-5."""
    expected, velocities = some_arrays(), [np.zeros((3, CLASSES)), np.zeros(CLASSES)]
    found, optimizer = variables(expected), CaffeSGD(**SETTINGS)
    for step in range(steps):
        gradients = some_arrays(seed=10 + step)
        expected, velocities = numpy_step(expected, gradients, velocities, **NUMPY)
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], found)
    assert_close(found, expected)
    assert_close(optimizer.momentums, velocities)


def test_steps_equal_pytorchs():
    """PyTorch's decay is also L2 in the gradient. Parameter groups give biases their own rate. Relative 1e-5."""
    theirs, optimizer = pytorch_references.stored("caffe_sgd"), CaffeSGD(**SETTINGS)
    found = variables([theirs["step_0/0"], theirs["step_0/1"]])
    for step in (1, 2, 3):
        gradients = [theirs[f"gradient_{step}/{i}"] for i in (0, 1)]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], found)
        assert_close(found, [theirs[f"step_{step}/{i}"] for i in (0, 1)])


def test_keras_own_decay_is_another_and_is_refused():
    """Decoupled decay also shrinks the bias, and does not enter the velocity."""
    start, gradients = some_arrays(), some_arrays(seed=1)
    decoupled, ours = variables(start), variables(start)
    tensors = [keras.ops.convert_to_tensor(g, "float32") for g in gradients]
    theirs, caffes = keras.optimizers.SGD(0.03, 0.99, weight_decay=0.4), CaffeSGD(**SETTINGS, bias_multiplier=1.0)
    for _ in range(2):
        theirs.apply(tensors, decoupled)
        caffes.apply(tensors, ours)
    for a, b in zip(arrays_of(decoupled), arrays_of(ours), strict=True):
        assert np.abs(a - b).max() > 0.01
    with pytest.raises(ValueError, match=r"weight_decay=0\.4: Keras decouples.*pass l2="):
        CaffeSGD(weight_decay=0.4)


def test_decays_below_zero():
    with pytest.raises(ValueError, match=r"l2=-0\.1, expected a number of at least 0"):
        CaffeSGD(l2=-0.1)


SIZES = [(6, 5), (4, 9), (7, 3), (6, 5), (2, 2)]


def photographs():
    """Images of several sizes with their masks, some void."""
    generator = np.random.default_rng(3)
    for size in SIZES:
        masks = generator.integers(0, CLASSES, (1, *size)).astype("uint8")
        masks[:, 0] = 255
        yield generator.normal(size=(1, *size, 3)).astype("float32"), masks


def pixel_scorer(start):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(CLASSES, 1, name="score_fr")(image))
    model.set_weights([start[0][None, None], start[1]])
    return model


def fitted(model, optimizer, reduction, epochs=1, **options):
    """Trains on the photographs in order, one at a time, through `fit`."""
    signature = (tf.TensorSpec((1, None, None, 3), "float32"), tf.TensorSpec((1, None, None), "uint8"))
    dataset = tf.data.Dataset.from_generator(photographs, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(SIZES)))
    model.compile(optimizer, PixelCrossentropy(reduction=reduction), **{"jit_compile": False, **options})
    model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)
    return model


def numpy_fit(start, reduction, epochs=1, **settings):
    parameters, velocities = start, [np.zeros((3, CLASSES)), np.zeros(CLASSES)]
    for images, masks in [*photographs()] * epochs:
        gradients = numpy_gradients(parameters, images, masks, reduction)
        parameters, velocities = numpy_step(parameters, gradients, velocities, **settings)
    return parameters


def weights_of(model):
    kernel, bias = model.get_weights()
    return kernel[0, 0], bias


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_fit_with_one_image_a_step_equals_numpy(reduction):
    """Ten steps on images of several sizes; relative 1e-4, because rounding errors add up."""
    start = some_arrays()
    model = fitted(pixel_scorer(start), CaffeSGD(0.003, momentum=0.9, l2=0.4), reduction, epochs=2)
    assert_close(weights_of(model), numpy_fit(start, reduction, 2, rate=0.003, momentum=0.9, l2=0.4), rtol=1e-4)


def test_fit_with_xla_equals_numpy():
    start = some_arrays()
    model = fitted(pixel_scorer(start), CaffeSGD(0.003, momentum=0.9, l2=0.4), "sum", jit_compile=True)
    assert_close(weights_of(model), numpy_fit(start, "sum", rate=0.003, momentum=0.9, l2=0.4), rtol=1e-4)


def test_the_released_rate_takes_the_step_that_the_mean_loss_takes_with_the_translated_one():
    """One step, then three with momentum, on images with equally many labelled pixels; to 1e-3 of the change.

    Weights near 1 in float32 hold movements of more than 1e-3 to that.
    """
    generator = np.random.default_rng(5)
    images = generator.normal(size=(3, 1, 25, 20, 3)).astype("float32")
    masks = generator.integers(0, CLASSES, (3, 1, 25, 20)).astype("uint8")
    masks[:, :, 0] = 255
    pixels = 24 * 20
    start = [a.astype("float32") for a in some_arrays()]
    summed = Schedule(1e-5, 1, "nothing", l2=40.0)  # a decay as large as the gradient, so that it is seen
    translated = summed.convert_to_mean_loss(pixels)
    moved = {}
    for schedule in (summed, translated):
        model = pixel_scorer(start)
        model.compile(schedule.make_optimizer(), schedule.make_loss(), jit_compile=False)
        for step in range(3):
            model.train_on_batch(images[step], masks[step])
            moved.setdefault(step, []).append([a - b for a, b in zip(weights_of(model), start, strict=True)])
    for step in (0, 2):
        for ours, theirs in zip(*moved[step], strict=True):
            assert np.abs(theirs).max() > 1e-3
            np.testing.assert_allclose(ours, theirs, atol=1e-3 * np.abs(theirs).max())
    without = dataclasses.replace(translated, l2=summed.l2)  # the rate alone, the decay forgotten
    model = pixel_scorer(start)
    model.compile(without.make_optimizer(), without.make_loss(), jit_compile=False)
    model.train_on_batch(images[0], masks[0])
    assert np.abs(weights_of(model)[0] - start[0] - moved[0][0][0]).max() > 0.1 * np.abs(moved[0][0][0]).max()


def test_translations_in_numbers():
    """1e-10 on the sum over 500×375 is about 1.9e-5 on the mean (REFERENCE)."""
    assert convert_learning_rate(1e-10) == pytest.approx(1.875e-5)
    assert convert_learning_rate(1e-10, pixels=500 * 375) * convert_l2(5e-4, pixels=500 * 375) == pytest.approx(
        1e-10 * 5e-4
    )
    assert convert_l2(5e-4) == pytest.approx(2.667e-9, rel=1e-3)
    for pixels in (0, -5):
        with pytest.raises(ValueError, match=f"pixels={pixels}, expected the number of labelled pixels"):
            convert_learning_rate(1e-10, pixels)
        with pytest.raises(ValueError, match=f"pixels={pixels}"):
            convert_l2(5e-4, pixels)


def test_the_released_schedules():
    """The numbers of the authors' solver.prototxt files."""
    rates = {name: s.learning_rate for name, s in RELEASED.items()}
    assert rates == {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-14, "fcn8s-atonce": 1e-10, "fcn-alexnet": 1e-4}
    assert [s.iterations for s in RELEASED.values()] == [100_000, 100_000, 100_000, 300_000, 100_000]
    assert {s.l2 for s in RELEASED.values()} == {5e-4} and {s.bias_multiplier for s in RELEASED.values()} == {2.0}
    heavy = [s for name, s in RELEASED.items() if name != "fcn-alexnet"]
    assert {(s.momentum, s.batch, s.reduction) for s in heavy} == {(0.99, 1, "sum")}
    assert [s.starts_from for s in heavy] == ["vgg16", "fcn32s", "fcn16s", "vgg16"]


def test_the_papers_schedules():
    """Batch 20, momentum 0.9, 1e-4 divided by 100 at each finer net, at least 175 epochs of the first."""
    assert [CVPR[name].learning_rate for name in ("fcn32s", "fcn16s", "fcn8s")] == pytest.approx([1e-4, 1e-6, 1e-8])
    assert {(s.momentum, s.batch, s.l2) for s in CVPR.values()} == {(0.9, 20, 5e-4)}
    assert CVPR["fcn32s"].epochs == 175
    assert CVPR["fcn32s"].convert_to_mean_loss() is CVPR["fcn32s"]


def test_a_schedule_makes_its_solver_and_its_loss():
    optimizer = RELEASED["fcn16s"].make_optimizer()
    assert float(optimizer.learning_rate) == pytest.approx(1e-12)
    assert (optimizer.momentum, optimizer.l2, optimizer.bias_multiplier) == (0.99, 5e-4, 2.0)
    assert optimizer.gradient_accumulation_steps is None and RELEASED["fcn16s"].make_loss().reduction == "sum"
    assert (
        CVPR["fcn8s"].make_optimizer().gradient_accumulation_steps == 20
        and CVPR["fcn8s"].make_loss().reduction == "mean"
    )


def test_accumulated_images_step_once_with_the_mean_of_their_gradients():
    """As with Caffe's iter_size, the decay is added once to the mean gradient. Relative 1e-5."""
    start = some_arrays()
    schedule = Schedule(0.03, None, "nothing", momentum=0.9, l2=0.4, batch=2)
    found, optimizer = variables(start), schedule.make_optimizer()
    expected, velocities = start, [np.zeros((3, CLASSES)), np.zeros(CLASSES)]
    for step in range(2):
        pair = [some_arrays(seed=20 + 2 * step), some_arrays(seed=21 + 2 * step)]
        mean = [(a + b) / 2 for a, b in zip(*pair, strict=True)]
        expected, velocities = numpy_step(expected, mean, velocities, rate=0.03, momentum=0.9, l2=0.4)
        for gradients in pair:
            optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], found)
    assert_close(found, expected)


def test_gradients_are_clipped_before_the_decay_as_in_caffe():
    start, gradients = some_arrays(), [100 * g for g in some_arrays(seed=1)]
    found = variables(start)
    CaffeSGD(**SETTINGS, global_clipnorm=1.0).apply(
        [keras.ops.convert_to_tensor(g, "float32") for g in gradients], found
    )
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    clipped = [g / norm for g in gradients]
    assert_close(found, numpy_step(start, clipped, [0, 0], **NUMPY)[0])


@pytest.mark.parametrize("upsampling", ["frozen", "learned"])
def test_biases_of_the_authors_nets(upsampling):
    """Every convolution has a bias. A transposed convolution has none; its kernel is a weight if it is learned."""
    from fcn_keras import paper

    model = paper.CaffeFCN8s(upsampling=upsampling, width=1 / 32)
    optimizer = CaffeSGD()
    optimizer.build(model.trainable_variables)
    paths = [v.path for v in model.trainable_variables]
    biases = {path for path, is_bias in zip(paths, optimizer._is_bias, strict=True) if is_bias}
    layers = [f"conv{s}_{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    layers += ["fc6", "fc7", "score_fr", "score_pool4", "score_pool3"]
    assert biases == {f"{name}/bias" for name in layers}
    assert any("upscore" in path for path in paths) == (upsampling == "learned")


def test_saved_and_loaded_it_goes_on_with_its_velocities(tmp_path):
    start = some_arrays()
    optimizer = CaffeSGD(0.003, momentum=0.9, l2=0.4, bias_multiplier=3.0)
    whole = fitted(pixel_scorer(start), optimizer, "sum")
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, CaffeSGD)
    assert loaded.optimizer.get_config() == whole.optimizer.get_config()
    for images, masks in photographs():
        whole.train_on_batch(images, masks)
        loaded.train_on_batch(images, masks)
    for ours, theirs in zip(loaded.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_serialized_with_a_schedule_and_made_again():
    rate = keras.optimizers.schedules.PolynomialDecay(1e-4, 10)
    optimizer = CaffeSGD(rate, momentum=0.9, l2=1e-3, bias_multiplier=1.0, clipnorm=2.0)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is CaffeSGD and copy.get_config() == optimizer.get_config()
    assert copy.get_config()["l2"] == 1e-3 and copy.get_config()["bias_multiplier"] == 1.0


def test_a_schedule_sets_the_rate_of_biases_too():
    """At the second step the rate of both kernel and bias is half. Relative 1e-5."""
    expected, velocities = some_arrays(), [0, 0]
    found = variables(expected)
    optimizer = CaffeSGD(keras.optimizers.schedules.PolynomialDecay(0.04, 2, end_learning_rate=0.0), 0.9, l2=0.4)
    for rate in (0.04, 0.02):
        gradients = some_arrays(seed=1)
        expected, velocities = numpy_step(expected, gradients, velocities, rate=rate, momentum=0.9, l2=0.4)
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], found)
    assert_close(found, expected)


SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np, keras
    from fcn_keras.paper.solver import CaffeSGD
    from fcn_keras.losses import PixelCrossentropy

    file, backend = sys.argv[1:]
    assert keras.backend.backend() == backend
    given = np.load(file)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
    model.set_weights([given["kernel"][None, None], given["bias"]])
    model.compile(CaffeSGD(0.003, momentum=0.9, l2=0.4), PixelCrossentropy(reduction="sum"))
    for _ in range(3):
        model.train_on_batch(given["images"], given["masks"])
    for ours, name in zip(model.get_weights(), ("new_kernel", "new_bias")):
        np.testing.assert_allclose(np.squeeze(ours), given[name], rtol=1e-4, atol=1e-4, err_msg=name)
""")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_steps_on_other_backends(backend, tmp_path):
    """Three steps with `train_on_batch`, compiled if the backend compiles; to 1e-4."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"tests Keras' {backend} backend, and {backend} is not installed")
    images, masks = next(photographs())
    start = [a.astype("float32") for a in some_arrays()]
    expected, velocities = start, [0, 0]
    for _ in range(3):
        gradients = numpy_gradients(expected, images, masks, "sum")
        expected, velocities = numpy_step(expected, gradients, velocities, rate=0.003, momentum=0.9, l2=0.4)
    names = dict(zip(("kernel", "bias", "new_kernel", "new_bias"), [*start, *expected], strict=True))
    np.savez(tmp_path / "given.npz", images=images, masks=masks, **names)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "given.npz"), backend]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def test_one_image_of_five_hundred_by_three_seventy_five():
    assert solver.VOC_PIXELS == 187_500
