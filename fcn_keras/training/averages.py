"""Averaged weights: a Keras optimizer keeps them (``use_ema=True``); here they are put into the model for a while."""

import contextlib

import keras


def keeps_averages(model):
    """Whether the model's optimizer averages weights; float16's loss scaling may be around it."""
    return bool(getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), "use_ema", False))


def averaging(share, steps):
    """Arguments of an optimizer that averages weights exponentially over a share of a run's steps; None, 0: over none.

    Example:

    >>> averaging(0.05, steps=2000)
    {'use_ema': True, 'ema_momentum': 0.99}
    """
    return {} if not share else {"use_ema": True, "ema_momentum": max(0.0, 1 - 1 / (share * steps))}


@contextlib.contextmanager
def averaged(model):
    """Puts the averaged weights into the model for a while, where its optimizer keeps some.

    `keras.callbacks.SwapEMAWeights` swaps by adding and subtracting on TensorFlow, which changes last bits.

    Args:
        model: A compiled model.

    Example:

    >>> with averaged(model):  # doctest: +SKIP
    ...     model.evaluate(validation)
    """
    if not keeps_averages(model):
        yield
        return
    raw = copies(model.trainable_variables)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        assign(model.trainable_variables, raw)


def copies(variables):
    """The values of variables as arrays of their own."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables, values):
    """Gives each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
