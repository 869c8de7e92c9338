"""The exponential moving average (EMA) of weights, which Keras' optimizers compute, and its start."""

import contextlib

from ..layers._keras import get_averaged_weights
from .checkpoints import assign, copy_values


def make_ema_options(share, steps, overwrite=None):
    """Makes the arguments of an optimizer that averages weights over a share of the steps.

    Args:
        share: Share of the steps, such as 0.05. None or 0 averages no weights.
        steps: Number of steps of the whole run.
        overwrite: Number of steps after which training continues from the averaged weights, again and again. By
            default it never does.

    Returns:
        Dict of keyword arguments for a `keras.optimizers.Optimizer`.

    Example:

    >>> make_ema_options(0.05, steps=2000)
    {'use_ema': True, 'ema_momentum': 0.99}
    """
    if not share:
        return {}
    frequency = {"ema_overwrite_frequency": overwrite} if overwrite else {}
    return {"use_ema": True, "ema_momentum": max(0.0, 1 - 1 / (share * steps))} | frequency


def uses_ema(model):
    """Whether the model's optimizer averages weights. It may be inside Keras' loss scaling optimizer."""
    return bool(getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), "use_ema", False))


@contextlib.contextmanager
def use_ema_weights(model):
    """Puts the averaged weights into the model inside the block, if its optimizer averages weights.

    `keras.callbacks.SwapEMAWeights` adds and subtracts weights to swap them on TensorFlow, which changes their last
    bits.

    Args:
        model: A compiled model.

    Example:

    >>> with use_ema_weights(model):  # doctest: +SKIP
    ...     model.evaluate(validation)
    """
    if not uses_ema(model):
        yield
        return
    raw = copy_values(model.trainable_variables)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        assign(model.trainable_variables, raw)


def start_optimizer_at(model, step):
    """Sets a new optimizer to a step of its schedule, and its averaged weights to the weights of the model.

    Args:
        model: A compiled model whose optimizer is built and has not made a step.
        step: Number of steps that count as made.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer.variables[0].assign(step)  # `iterations`, which Keras divides by the accumulated steps
    if uses_ema(model):
        assign(get_averaged_weights(optimizer), copy_values(model.trainable_variables))
