"""Classes that a mirrored image exchanges, such as the left and the right eye, found by their names."""

import re

#: Words for left and right. Single letters count only if both classes of the pair exist.
SIDES = (("left", "right"), ("l", "r"), ("왼쪽", "오른쪽"), ("왼", "오른"), ("좌측", "우측"), ("좌", "우"))
_LETTERS = ("l", "r", "왼", "오른", "좌", "우")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[가-힣]+|[^A-Za-z가-힣]+")


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
    ids = {tuple(_split(name)): id_ for id_, name in enumerate(names)}
    pairs = {}
    for words, id_ in ids.items():
        for place, word in enumerate(words):
            for left, right in SIDES:
                other = ids.get((*words[:place], _put(word, left, right), *words[place + 1 :]))
                if other is not None and other != id_:
                    pairs[id_] = other
    return sorted(pairs.items())


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
    known = {word for pair in SIDES for word in pair if word not in _LETTERS}
    return [name for id_, name in enumerate(names) if id_ in paired or any(_has(word, known) for word in _split(name))]


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
    return [word.lower() for word in _WORD.findall(name)]


def _has(word, known):
    """Korean writes the words together, as in 왼쪽눈."""
    return word in known or any(word.startswith(side) for side in known if side > "가")


def _put(word, left, right):
    """The word with the left side in place of the right one's, or None."""
    if word == left:
        return right
    return right + word[len(left) :] if left > "가" and word.startswith(left) else None
