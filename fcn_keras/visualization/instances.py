"""Draws objects on their image, each with a colour, a box and a name."""

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from .colors import read_rgb
from .style import draw_image, get_class_name, panel_grid

# From Paul Tol's palettes "bright" and "vibrant". The colours also differ in lightness.
COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#009988", "#BBBBBB")
OPACITY = 0.55


def show_instances(images, found, class_names=None, title=None, columns=3, titles=None):
    """Draws the objects of images: mask, box, class and score, with one colour for each object.

    Args:
        images: One image ``(H, W, 3)``, RGB, 0–255, or a sequence of images.
        found: The `fcn_keras.instances.Instances` of the image, or one for each image. For the truth, it can also be a
            dict of ``boxes`` ``(N, 4)``, ``classes`` ``(N,)``, ``masks`` ``(N, H, W)`` and, if known, ``scores``
            ``(N,)``. Rows of class 0 are not drawn.
        class_names: Name of each class, from class 0, the background, on.
        title: Title of the figure.
        columns: Largest number of images in a row.
        titles: Titles of the images, one for each.

    Returns:
        Matplotlib `Figure`.

    Raises:
        ValueError: If the number of sets is not the number of images, or if a set has no boxes, classes or masks.

    Example:

    >>> mask = np.zeros((1, 16, 16), bool)
    >>> mask[0, 4:9, 4:12] = True
    >>> one = {"boxes": [[4, 4, 9, 12]], "classes": [1], "scores": [0.98], "masks": mask}
    >>> figure = show_instances(np.zeros((16, 16, 3), "uint8"), one, ["ground", "disc"])
    >>> figure.axes[0].texts[0].get_text()
    'disc 0.98'

    Reference: He et al., ICCV 2017, figure 2.
    """
    single = not isinstance(images, list | tuple) and np.ndim(images) == 3
    images, found = ([images], [found]) if single else (list(images), list(found))
    if len(images) != len(found) or not images:
        raise ValueError(
            f"Found {len(images)} images and {len(found)} sets of objects: expected one set for each image."
        )
    images = [read_rgb(image) for image in images]
    columns = min(columns, len(images))
    rows = [images[start].shape for start in range(0, len(images), columns)]
    with panel_grid(rows, columns, title) as (figure, axes):
        for ax in axes.ravel()[len(images) :]:
            ax.set_visible(False)
        titles = titles or [None] * len(images)
        for ax, image, objects, name in zip(axes.ravel(), images, found, titles, strict=False):
            _draw(ax, image, objects if isinstance(objects, dict) else vars(objects), class_names, name)
    return figure


def _draw(ax, image, objects, class_names, title):
    """Draws the masks, then the boxes and names. The best object is drawn last, on top of the others."""
    missing = [name for name in ("boxes", "classes", "masks") if name not in objects]
    if missing:
        raise ValueError(f"Found objects without {', '.join(missing)}: expected boxes, classes and masks.")
    classes = np.asarray(objects["classes"])
    there = [i for i in range(len(classes)) if classes[i] != 0][::-1]
    picture = image.astype("float32")
    for i in there:
        mask = np.asarray(objects["masks"][i], bool)
        picture[mask] = (1 - OPACITY) * picture[mask] + OPACITY * 255 * np.array(_choose_color(i))
    draw_image(ax, picture.round().astype("uint8"), title)
    for i in there:
        top, left, bottom, right = np.asarray(objects["boxes"][i], float) - 0.5  # imshow centres pixels on integers
        box = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=_choose_color(i), linewidth=1.5)
        ax.add_patch(box)
        name = "crowd" if classes[i] < 0 else get_class_name(int(classes[i]), class_names)
        score = f" {objects['scores'][i]:.2f}" if "scores" in objects else ""
        x, side = (right, "right") if left > 0.7 * image.shape[1] else (left, "left")
        place = {"ha": side, "va": "top" if top < 0.08 * image.shape[0] else "bottom", "clip_on": True}
        text = ax.text(x, max(top, -0.5), name + score, color="white", fontsize=9, **place)
        text.set_path_effects([withStroke(linewidth=2.5, foreground=_choose_color(i))])


def _choose_color(i):
    return matplotlib.colors.to_rgb(COLORS[i % len(COLORS)])
