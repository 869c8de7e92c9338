"""The authors' solver: SGD as in Caffe, their two sets of schedules, and their conversion to a mean loss.

One step on a parameter ``w`` with gradient ``g`` and velocity ``v`` is::

    v = momentum * v - learning_rate * (g + l2 * w)      # weights
    v = momentum * v - 2 * learning_rate * g             # biases
    w = w + v

There are two sets of schedules, and they differ. `CVPR` is from the paper: batches of 20 images, momentum 0.9, learning
rates from 1e-4. `RELEASED` is from the nets that the authors published: one image per step, momentum 0.99, and a loss
that is summed over pixels. Because of the sum, its learning rates look small: 1e-10 on the sum over an image of 500×375
pixels is 1.875e-5 on the mean. `convert_learning_rate` and `convert_l2` do this conversion.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.3; Shelhamer, Long & Darrell (PAMI 2017); the files
``solver.prototxt`` of the released nets.
"""

import dataclasses

import keras
from keras import ops

from ..layers._keras import get_variable_index
from ..losses import PixelCrossentropy

VOC_PIXELS = 500 * 375  # of a typical photograph of PASCAL VOC


@keras.saving.register_keras_serializable(package="fcn_keras")
class CaffeSGD(keras.optimizers.SGD):
    """SGD with momentum as in Caffe: L2 decay is part of the gradient, and biases learn twice as fast without decay.

    The decay is added to the gradient and so enters the velocity. The `weight_decay` of Keras is decoupled: it shrinks
    all weights, including biases, outside the step. Passing it raises an error here. As in Caffe, gradients are clipped
    and accumulated before the decay is added. A variable with the name ``bias`` is a bias; the kernel of a transposed
    convolution, bilinear or learned, is a weight. The velocity contains the learning rate. With a schedule, the steps
    therefore differ from those of PyTorch's SGD, which multiplies by the learning rate at the end.

    Args:
        learning_rate: Learning rate of weights: a float, a schedule, or a function without arguments. The default is
            for the released FCN-32s, whose loss is summed over pixels.
        momentum: Share of the velocity that is kept, in ``[0, 1]``.
        l2: Factor of the weights in their gradient, at least 0. Caffe calls it ``weight_decay``.
        bias_multiplier: Learning rate of biases, divided by `learning_rate`. Caffe calls it ``lr_mult``.
        name: Name of the optimizer.
        **kwargs: As in `keras.optimizers.SGD`.

    Raises:
        ValueError: If `weight_decay` is given, or `l2` is negative.

    Example:

    >>> weight, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    >>> CaffeSGD(0.1, momentum=0.9, l2=0.5).apply([np.ones(1), np.ones(1)], [weight, bias])
    >>> [round(float(v[0]), 3) for v in (weight, bias)]  # 1 - 0.1 (1 + 0.5), 1 - 2 * 0.1
    [0.85, 0.8]

    Reference: Long et al. (CVPR 2015), §4.3, "Optimization"; Jia et al. (2014), Caffe.
    """

    def __init__(self, learning_rate=1e-10, momentum=0.99, l2=5e-4, bias_multiplier=2.0, name="caffe_sgd", **kwargs):
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                f"Found weight_decay={kwargs['weight_decay']}: Keras decouples it from the gradient, unlike Caffe. "
                "Fix: pass l2=."
            )
        if l2 < 0:
            raise ValueError(f"Found l2={l2}, expected a number of at least 0.")
        super().__init__(learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2, self.bias_multiplier = l2, bias_multiplier

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # By index, because on TensorFlow `update_step` gets variables without their Keras names.
        self._is_bias = [variable.name == "bias" for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.cast(gradient, variable.dtype)
        if self._is_bias[get_variable_index(self, variable)]:
            learning_rate = learning_rate * self.bias_multiplier
        else:
            gradient = ops.add(gradient, ops.multiply(variable, ops.cast(self.l2, variable.dtype)))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2, "bias_multiplier": self.bias_multiplier}


def convert_learning_rate(summed, pixels=VOC_PIXELS):
    """Converts a learning rate for the summed loss to one for the mean loss.

    The gradient of the mean is the gradient of the sum divided by the number of pixels. So the learning rate must be
    multiplied by this number. The L2 decay is not part of the loss and must be divided by it; see `convert_l2`. The
    two solvers make equal steps only if all steps have the same number of pixels, because the sum gives more weight to
    images that are larger or have less void.

    Args:
        summed: Learning rate for the loss summed over pixels.
        pixels: Number of labelled pixels in a step, without void. By default 500×375, the size of an image of VOC.

    Returns:
        The learning rate for the mean loss.

    Raises:
        ValueError: If `pixels` is not positive.

    Example:

    >>> f"{convert_learning_rate(1e-10):.4}"
    '1.875e-05'
    """
    _require_pixels(pixels)
    return summed * pixels


def convert_l2(summed, pixels=VOC_PIXELS):
    """Converts an L2 decay for the summed loss to one for the mean loss. Use it with `convert_learning_rate`.

    A step is ``rate * (gradient + l2 * w)``. The rate is multiplied by the number of pixels and the gradient is divided
    by it, so the decay must also be divided by it. The authors' 5e-4 becomes 2.7e-9, which is almost nothing.

    Args:
        summed: L2 decay for the loss summed over pixels.
        pixels: As in `convert_learning_rate`.

    Returns:
        The L2 decay for the mean loss.

    Raises:
        ValueError: If `pixels` is not positive.

    Example:

    >>> convert_l2(5e-4, pixels=500)
    1e-06
    """
    _require_pixels(pixels)
    return summed / pixels


def _require_pixels(pixels):
    if not pixels > 0:
        raise ValueError(f"Found pixels={pixels}, expected the number of labelled pixels in a step, at least 1.")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The numbers with which the authors trained one net. They make the loss and the optimizer.

    Args:
        learning_rate: Learning rate of weights, which is constant.
        iterations: Number of steps, or None if the source gives only epochs.
        starts_from: Net whose weights the training starts from.
        reduction: How the loss is reduced over pixels, ``"sum"`` or ``"mean"``.
        momentum: As in `CaffeSGD`.
        l2: As in `CaffeSGD`.
        bias_multiplier: As in `CaffeSGD`.
        batch: Images in a step. Because images differ in size, gradients are accumulated image by image.
        epochs: Least number of passes over the training images, or None if the source gives iterations.

    Example:

    >>> RELEASED["fcn16s"].learning_rate, RELEASED["fcn16s"].starts_from
    (1e-12, 'fcn32s')
    >>> schedule = RELEASED["fcn32s"]
    >>> model = fcn_keras.paper.CaffeFCN32s(width=1 / 16)
    >>> model.compile(schedule.make_optimizer(), schedule.make_loss())

    Reference: Long et al. (CVPR 2015), §4.3; the released ``solver.prototxt`` files.
    """

    learning_rate: float
    iterations: int | None
    starts_from: str
    reduction: str = "sum"
    momentum: float = 0.99
    l2: float = 5e-4
    bias_multiplier: float = 2.0
    batch: int = 1
    epochs: int | None = None

    def make_loss(self):
        """Makes the loss of this schedule, which ignores void pixels."""
        return PixelCrossentropy(reduction=self.reduction)

    def make_optimizer(self):
        """Makes the solver. It makes one step for every `batch` images, with the mean of their gradients."""
        return CaffeSGD(
            self.learning_rate,
            self.momentum,
            self.l2,
            self.bias_multiplier,
            gradient_accumulation_steps=self.batch if self.batch > 1 else None,
        )

    def convert_to_mean_loss(self, pixels=VOC_PIXELS):
        """Converts the schedule to the mean loss. Training is the same if all images have `pixels` labelled pixels.

        Args:
            pixels: As in `convert_learning_rate`.

        Returns:
            A `Schedule`: this one if its loss is already a mean.

        Example:

        >>> schedule = RELEASED["fcn32s"].convert_to_mean_loss()
        >>> f"{schedule.learning_rate:.4}", f"{schedule.l2:.3}", schedule.reduction
        ('1.875e-05', '2.67e-09', 'mean')
        """
        if self.reduction == "mean":
            return self
        rate, l2 = convert_learning_rate(self.learning_rate, pixels), convert_l2(self.l2, pixels)
        return dataclasses.replace(self, learning_rate=rate, l2=l2, reduction="mean")


#: The schedules of the released nets. One image per step with momentum 0.99 corresponds to twenty images with momentum
#: 0.9, because 0.9 ** (1 / 20) is 0.995. In FCN-AlexNet only the bias of score_fr learns twice as fast. The biases of
#: the layers below have Caffe's defaults: factor 1, and decay.
RELEASED = {
    "fcn32s": Schedule(1e-10, 100_000, starts_from="vgg16"),
    "fcn16s": Schedule(1e-12, 100_000, starts_from="fcn32s"),
    "fcn8s": Schedule(1e-14, 100_000, starts_from="fcn16s"),
    "fcn8s-atonce": Schedule(1e-10, 300_000, starts_from="vgg16"),
    "fcn-alexnet": Schedule(1e-4, 100_000, starts_from="caffenet", reduction="mean", momentum=0.9, batch=20),
}

#: The schedules of the paper (§4.3). It gives the number of epochs only for the coarse net. For the others it says that
#: training took about one day, and three days for the coarse net. It does not say how the loss is reduced. We take the
#: mean, as in the released FCN-AlexNet, which the authors trained "in this same way".
CVPR = {
    "fcn32s": Schedule(1e-4, None, starts_from="vgg16", reduction="mean", momentum=0.9, batch=20, epochs=175),
    "fcn16s": Schedule(1e-6, None, starts_from="fcn32s", reduction="mean", momentum=0.9, batch=20),
    "fcn8s": Schedule(1e-8, None, starts_from="fcn16s", reduction="mean", momentum=0.9, batch=20),
}
