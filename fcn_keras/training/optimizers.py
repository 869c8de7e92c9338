"""AdamW and SGD with a learning rate for each layer, and the polynomial schedule.

A pretrained backbone needs smaller steps than score layers that start at zero. `keras.optimizers.MultiOptimizer` gives
each group of variables an optimizer of its own, but that of Keras 3.15 shows no learning rate, clips the gradients of
each group separately and does not save which variables are excluded from weight decay.
"""

import keras
from keras import ops

from ..layers._keras import get_variable_index


@keras.saving.register_keras_serializable(package="fcn_keras")
class Polynomial(keras.optimizers.schedules.PolynomialDecay):
    """The polynomial schedule ``rate * (1 - step / steps) ** power``, after a linear warm-up.

    Args:
        initial_learning_rate: Learning rate at the start of the decay.
        decay_steps: Number of steps until the rate is zero, the warm-up included.
        power: Exponent, usually 0.9.
        warmup: Number of steps in which a factor rises linearly to 1. 0 starts at the full rate.

    Example:

    >>> [round(float(Polynomial(1.0, 10, power=1.0, warmup=2)(step)), 3) for step in (0, 1, 2, 9, 10)]
    [0.5, 0.9, 0.8, 0.1, 0.0]

    Reference: the "poly" policy of Chen et al., DeepLab (PAMI 2018), §4.1.
    """

    def __init__(self, initial_learning_rate, decay_steps, power=0.9, warmup=0, name="polynomial"):
        super().__init__(initial_learning_rate, decay_steps, end_learning_rate=0.0, power=power, name=name)
        self.warmup = warmup

    def __call__(self, step):
        rate = super().__call__(step)
        if not self.warmup:
            return rate
        return rate * ops.minimum(1.0, (ops.cast(step, "float32") + 1) / self.warmup)

    def get_config(self):
        keys = ("initial_learning_rate", "decay_steps", "power", "warmup", "name")
        return {key: getattr(self, key) for key in keys}


class _Layerwise:
    """A mixin with a factor of the learning rate for each variable, and with weight decay for kernels only."""

    def __init__(self, learning_rate, rates=None, decay=0.0, **kwargs):
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                f"Found weight_decay={kwargs['weight_decay']}: expected None, because it also shrinks biases. "
                "Fix: pass decay=, which shrinks only kernels."
            )
        super().__init__(learning_rate, **kwargs)
        self.rates, self.decay = None if rates is None else tuple(float(rate) for rate in rates), decay

    def build(self, variables):
        if self.built:
            return
        if self.rates is not None and len(self.rates) != len(variables):
            raise ValueError(
                f"Found {len(self.rates)} rates for {len(variables)} trainable variables: expected one for each. "
                "Fix: set which layers are trainable before you make the optimizer."
            )
        super().build(variables)

    def _rate(self, variable, learning_rate):
        # By index, because on TensorFlow `update_step` gets variables without their Keras names.
        return learning_rate if self.rates is None else learning_rate * self.rates[get_variable_index(self, variable)]

    def _decays(self, variable):
        """Kernels decay. Biases and the scale and shift of normalisation are vectors and do not decay."""
        return self.decay and len(variable.shape) > 1

    def get_config(self):
        config = {**super().get_config(), "rates": self.rates, "decay": self.decay}
        del config["weight_decay"]
        return config


@keras.saving.register_keras_serializable(package="fcn_keras", name="AdamW")  # its name in saved models
class LayerwiseAdamW(_Layerwise, keras.optimizers.Adam):
    """Adam with decoupled weight decay and a learning rate for each variable.

    Args:
        learning_rate: Float or schedule.
        rates: A factor of the learning rate for each trainable variable of the model, in order. With None, all factors
            are 1. See `make_layer_rates`.
        decay: Share of a kernel that a step with learning rate 1 subtracts. Vectors (biases, batch normalisation) do
            not decay.
        **kwargs: As in `keras.optimizers.Adam`.

    Raises:
        ValueError: If the number of rates is not the number of variables, or `weight_decay` is passed.

    Example:

    >>> kernel, bias = keras.Variable([[1.0]]), keras.Variable([1.0])
    >>> LayerwiseAdamW(0.1, rates=(0.5, 1.0), decay=0.2).apply([np.ones((1, 1)), np.ones(1)], [kernel, bias])
    >>> round(float(kernel[0, 0]), 4), round(float(bias[0]), 4)  # 1 - 0.05 * 0.2 - 0.05, 1 - 0.1
    (0.94, 0.9)

    Reference: Loshchilov & Hutter (ICLR 2019).
    """

    def __init__(self, learning_rate=1e-3, rates=None, decay=0.0, name="adamw", **kwargs):
        super().__init__(learning_rate, rates, decay, name=name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(self._rate(variable, learning_rate), variable.dtype)
        if self._decays(variable):
            self.assign_sub(variable, ops.multiply(variable, rate * self.decay))
        super().update_step(gradient, variable, rate)


@keras.saving.register_keras_serializable(package="fcn_keras", name="SGD")  # its name in saved models
class LayerwiseSGD(_Layerwise, keras.optimizers.SGD):
    """SGD with momentum, L2 decay inside the gradient, and a learning rate for each variable.

    Args:
        learning_rate, rates, name: As in `LayerwiseAdamW`.
        momentum: Share of the velocity that is kept.
        decay: Factor of a kernel that is added to its gradient. Vectors do not decay.
        **kwargs: As in `keras.optimizers.SGD`.

    Raises:
        ValueError: As in `LayerwiseAdamW`.

    Example:

    >>> kernel = keras.Variable([[1.0]])
    >>> LayerwiseSGD(0.1, rates=(0.5,), decay=1.0).apply([np.ones((1, 1))], [kernel])
    >>> round(float(kernel[0, 0]), 4)  # 1 - 0.05 * (1 + 1)
    0.9
    """

    def __init__(self, learning_rate=0.01, rates=None, decay=0.0, momentum=0.9, name="sgd", **kwargs):
        super().__init__(learning_rate, rates, decay, momentum=momentum, name=name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.cast(gradient, variable.dtype)
        if self._decays(variable):
            gradient = ops.add(gradient, ops.multiply(variable, ops.cast(self.decay, variable.dtype)))
        super().update_step(gradient, variable, self._rate(variable, learning_rate))


def make_layer_rates(model, backbone, within=None):
    """Makes a factor of the learning rate for each trainable variable: `backbone` in the backbone, 1 elsewhere.

    Args:
        model: A net of `fcn_keras.models.fcn`.
        backbone: Factor of the layers of ``within.get_layer("backbone")``.
        within: The part of the model that holds the backbone. By default the model itself.

    Returns:
        A tuple of floats, in the order of ``model.trainable_variables``.

    Example:

    >>> model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    >>> make_layer_rates(model, 0.1)[0], make_layer_rates(model, 0.1)[-1]
    (0.1, 1.0)
    """
    slow = {id(variable) for variable in (within or model).get_layer("backbone").trainable_variables}
    return tuple(float(backbone) if id(variable) in slow else 1.0 for variable in model.trainable_variables)
