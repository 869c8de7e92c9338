"""Classes that a mirrored image exchanges, such as the left and the right eye, found by their names."""

import re

SIDES = {"left": "right", "l": "r", "왼쪽": "오른쪽", "왼": "오른", "좌측": "우측", "좌": "우"}
_OTHER = SIDES | {right: left for left, right in SIDES.items()}
#: Words of a name, also of ``LeftEye``. Korean writes the side and the thing together, as in 왼쪽눈.
_WORD = r"(?<![가-힣])(?:왼쪽|오른쪽|좌측|우측|왼|오른|좌|우)|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[가-힣]+|[^A-Za-z가-힣]+"


def find_pairs(names):
    """Finds pairs of classes whose names differ only in left and right, as in ``left_eye`` and ``right_eye``.

    Args:
        names: Names of the classes, by id.

    Returns:
        List of pairs of class ids, the left one first.

    Example:

    >>> find_pairs(["face", "left_eye", "right_eye", "ArmL", "ArmR", "leftover"])
    [(1, 2), (3, 4)]
    """
    ids = {_split(name): id_ for id_, name in enumerate(names)}
    pairs = []
    for words, id_ in ids.items():
        other = ids.get(tuple(_OTHER.get(word, word) for word in words))
        if other not in (None, id_) and next(word for word in words if word in _OTHER) in SIDES:
            pairs.append((id_, other))
    return sorted(pairs)


def find_sided(names):
    """Finds the names of classes that contain a word for left or right, alone or in a pair.

    Args:
        names: Names of the classes, by id.

    Returns:
        List of the names, in their order.

    Example:

    >>> find_sided(["road", "left lane", "ArmL", "ArmR"])
    ['left lane', 'ArmL', 'ArmR']
    """
    paired = {id_ for pair in find_pairs(names) for id_ in pair}
    sided = [any(word in _OTHER and len(word) > 1 for word in _split(name)) for name in names]  # not "l" alone
    return [name for id_, name in enumerate(names) if id_ in paired or sided[id_]]


def require_pairs(names):
    """The pairs of `find_pairs`. If there is none, raises an error.

    Raises:
        ValueError: If no two names differ only in left and right.

    Example:

    >>> require_pairs(["road", "sky"])
    Traceback (most recent call last):
    ...
    ValueError: Found no pair of left and right in the class names: road, sky. Fix: ...
    """
    pairs = find_pairs(names)
    if not pairs:
        raise ValueError(
            f"Found no pair of left and right in the class names: {', '.join(names)}. Fix: name the classes as in "
            "left_eye and right_eye, or pass flip=False (--no-flip), which mirrors no image."
        )
    return pairs


def _split(name):
    return tuple(word.lower() for word in re.findall(_WORD, name))
