"""AdamW and SGD with a rate for each layer, and the polynomial schedule: the field's usual solvers.

A backbone that is pretrained wants smaller steps than score layers that start at zero. Keras' own
`keras.optimizers.MultiOptimizer` gives groups of variables optimizers of their own, but 3.15's has no learning rate to
look at, clips gradients by group and does not save what is left out of weight decay.
"""

import keras
from keras import ops

from ..layers._keras import variable_index

register = keras.saving.register_keras_serializable(package="fcn_keras")


@register
class Polynomial(keras.optimizers.schedules.PolynomialDecay):
    """``rate * (1 - step / steps) ** power``, behind a linear warm-up.

    Args:
        initial_learning_rate: The rate at the start of the decay.
        decay_steps: Number of steps until it is zero, the warm-up included.
        power: Exponent; the field's is 0.9.
        warmup: Steps of a factor that rises linearly to 1; 0 starts at the full rate.

    Example:

    >>> [round(float(Polynomial(1.0, 10, power=1.0, warmup=2)(step)), 3) for step in (0, 1, 2, 9, 10)]
    [0.5, 0.9, 0.8, 0.1, 0.0]

    Reference: "poly": Chen et al., DeepLab (PAMI 2018), §4.1.
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


class _LayerRates:
    """Mixin: a factor of the learning rate for each variable, and decay of the weights that are no vectors."""

    def __init__(self, learning_rate, rates=None, decay=0.0, **kwargs):
        if kwargs.get("weight_decay") is not None:
            raise ValueError(f"Found weight_decay={kwargs['weight_decay']}: biases would shrink too. Fix: pass decay=.")
        super().__init__(learning_rate, **kwargs)
        self.rates, self.decay = None if rates is None else tuple(float(rate) for rate in rates), decay

    def build(self, variables):
        if self.built:
            return
        if self.rates is not None and len(self.rates) != len(variables):
            raise ValueError(
                f"Found {len(self.rates)} rates for {len(variables)} trainable variables: expected one for each. "
                "Fix: set what is trainable first, then make the optimizer."
            )
        super().build(variables)

    def _rate(self, variable, learning_rate):
        # By index: on TensorFlow `update_step` gets variables that have lost their Keras names.
        return learning_rate if self.rates is None else learning_rate * self.rates[variable_index(self, variable)]

    def _decays(self, variable):
        """Kernels decay; biases and the scale and shift of normalisation are vectors, and do not."""
        return self.decay and len(variable.shape) > 1

    def get_config(self):
        config = {**super().get_config(), "rates": self.rates, "decay": self.decay}
        del config["weight_decay"]
        return config


@register
class AdamW(_LayerRates, keras.optimizers.Adam):
    """Adam with decoupled weight decay, and a rate for each variable.

    Args:
        learning_rate: Float or schedule.
        rates: A factor of the learning rate for each trainable variable of the model, in their order (in which the
            moments are saved, too); None: 1 for all. See `layer_rates`.
        decay: Share of a weight that a step of rate 1 takes off; vectors (biases, batch normalisation) are spared.
        **kwargs: As in `keras.optimizers.Adam`.

    Raises:
        ValueError: If there are not as many rates as variables, or `weight_decay` is passed.

    Example:

    >>> kernel, bias = keras.Variable([[1.0]]), keras.Variable([1.0])
    >>> AdamW(0.1, rates=(0.5, 1.0), decay=0.2).apply([np.ones((1, 1)), np.ones(1)], [kernel, bias])
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


@register
class SGD(_LayerRates, keras.optimizers.SGD):
    """SGD with momentum, L2 decay inside the gradient, and a rate for each variable.

    Args:
        learning_rate, rates, name: As in `AdamW`.
        momentum: Share of the velocity that is kept.
        decay: Factor of a weight that is added to its gradient; vectors are spared.
        **kwargs: As in `keras.optimizers.SGD`.

    Raises:
        ValueError: As `AdamW`.

    Example:

    >>> kernel = keras.Variable([[1.0]])
    >>> SGD(0.1, rates=(0.5,), decay=1.0).apply([np.ones((1, 1))], [kernel])
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


def layer_rates(model, backbone, within=None):
    """A factor of the learning rate for each trainable variable: `backbone` in the backbone, 1 elsewhere.

    Args:
        model: A net of `fcn_keras.models.fcn`.
        backbone: Factor of the layers of ``within.get_layer("backbone")``.
        within: The part of the model that holds the backbone; by default the model.

    Returns:
        A tuple of floats, in the order of ``model.trainable_variables``.

    Example:

    >>> model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    >>> layer_rates(model, 0.1)[0], layer_rates(model, 0.1)[-1]
    (0.1, 1.0)
    """
    slow = {id(variable) for variable in (within or model).get_layer("backbone").trainable_variables}
    return tuple(float(backbone) if id(variable) in slow else 1.0 for variable in model.trainable_variables)
