"""One logit for two classes: what a binary net says of the object, its background fixed at 0.

The softmax of ``(0, z)`` is the sigmoid of ``z``, and which of the two is larger the sign of ``z`` tells. Losses,
metrics and inference ask `as_two_classes` first, and know nothing else of binary nets.
"""

from keras import ops


def as_two_classes(logits):
    """The logits of background and object from those of the object alone.

    Args:
        logits: Tensor ``(…, C)``.

    Returns:
        Tensor ``(…, 2)`` with 0 in front if C is 1; otherwise `logits` as they are.

    Example:

    >>> as_two_classes(keras.ops.convert_to_tensor([[3.0], [-2.0]])).numpy().tolist()
    [[0.0, 3.0], [0.0, -2.0]]
    """
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
