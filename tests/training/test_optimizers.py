"""AdamW and SGD with a learning rate for each layer, compared with PyTorch and with results by hand."""

import keras
import numpy as np
import pytest
import pytorch_references

import fcn_keras
from fcn_keras.training import LayerwiseAdamW, LayerwiseSGD, Polynomial, make_layer_rates

SHAPES = [(3, 4), (4,), (2, 3), (3,)]
RATES = (0.1, 0.1, 1.0, 1.0)


def arrays(seed):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype("float32") for shape in SHAPES]


def ours(optimizer, steps=4):
    variables = [keras.Variable(array) for array in arrays(0)]
    for step in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in arrays(step + 1)], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("adamw", lambda: LayerwiseAdamW(0.01, RATES, decay=0.1, epsilon=1e-12)),
        ("sgd", lambda: LayerwiseSGD(0.01, RATES, decay=0.1, momentum=0.9)),
    ],
)
def test_steps_are_pytorchs_with_parameter_groups(name, optimizer):
    theirs, optimizer = pytorch_references.stored(name), optimizer()
    variables = [keras.Variable(theirs[f"step_0/{i}"]) for i in range(4)]
    for step in range(1, 5):
        optimizer.apply([keras.ops.convert_to_tensor(theirs[f"gradient_{step}/{i}"]) for i in range(4)], variables)
        close(variables, [theirs[f"step_{step}/{i}"] for i in range(4)])


def test_one_step_by_hand():
    start, gradient = arrays(0), arrays(1)
    spared = [array.ndim > 1 for array in start]
    sgd = [v - 0.5 * r * (g + 0.2 * d * v) for v, g, r, d in zip(start, gradient, RATES, spared, strict=True)]
    close(ours(LayerwiseSGD(0.5, RATES, decay=0.2), steps=1), sgd)
    adam = [v - 0.5 * r * (0.2 * d * v + np.sign(g)) for v, g, r, d in zip(start, gradient, RATES, spared, strict=True)]
    close(ours(LayerwiseAdamW(0.5, RATES, decay=0.2, epsilon=1e-12), steps=1), adam)


@pytest.mark.parametrize("cls", [LayerwiseAdamW, LayerwiseSGD])
def test_saved_with_rates_and_moments_a_model_goes_on(cls, tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Dense(3)(image)))
    model.compile(cls(Polynomial(0.1, 10, warmup=2), (0.1, 0.1, 1, 1), decay=0.1), "mse", jit_compile=False)
    x, y = np.ones((4, 4), "float32"), np.zeros((4, 2), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.rates == (0.1, 0.1, 1.0, 1.0) and loaded.optimizer.decay == 0.1
    for each in (model, loaded):
        each.fit(x, y, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layer_rates_know_the_backbone():
    model = fcn_keras.FCN8s(3, "mini_vgg", weights=None, upsampling="learned")
    rates = dict(zip([v.path for v in model.trainable_variables], make_layer_rates(model, 0.25), strict=True))
    assert {path for path, rate in rates.items() if rate == 1} == {
        path for path in rates if path.startswith(("score_", "upscore"))
    }
    assert set(rates.values()) == {0.25, 1.0}


def test_polynomial_with_warmup_against_the_formula():
    schedule = Polynomial(0.3, 50, power=0.9, warmup=5)
    for step in (0, 3, 4, 5, 30, 50, 70):
        expected = 0.3 * min(1, (step + 1) / 5) * (1 - min(step, 50) / 50) ** 0.9
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert again.get_config() == schedule.get_config()


def test_what_cannot_be():
    with pytest.raises(ValueError, match="Found 2 rates for 4 trainable variables.*Fix"):
        ours(LayerwiseAdamW(0.1, (1, 1)))
    with pytest.raises(ValueError, match="weight_decay=0.1.*Fix: pass decay="):
        LayerwiseSGD(0.1, weight_decay=0.1)
