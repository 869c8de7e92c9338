"""Visualization: colours are compared with NumPy, and figures are checked for what a reader should find in them."""

import io

import keras
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from fcn_keras import visualization
from fcn_keras.geometry import Geometry
from fcn_keras.visualization.style import find_region_centers

NAMES = ["background", "disc", "box", "pole"]
PALETTE = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115]], "uint8")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    left = plt.get_fignums()
    plt.close("all")
    assert left == []


@pytest.fixture
def mask():
    ids = np.zeros((24, 36), "uint8")
    ids[4:16, 4:16] = 1
    ids[3, 3:17] = 255
    ids[8:20, 22:34] = 2
    return ids


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 36, 3), "uint8")


def png(figure):
    """The figure as a notebook shows it. Every test of a figure draws it."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return Image.open(file)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def titles_of(figure):
    return [ax.get_title() for ax in figure.axes]


def drawn(ax):
    return np.asarray(ax.get_images()[0].get_array())


# Colours


@pytest.mark.parametrize(
    ("i", "color"),
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (8, (64, 0, 0)),
        (15, (192, 128, 128)),
        (20, (0, 64, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_voc_palette_has_the_known_colors(i, color):
    assert tuple(visualization.voc_palette()[i]) == color


def test_voc_palette_equals_its_closed_form():
    def channel(i, k):  # bits k, k + 3, k + 6 of the id, as a number read backwards
        return int("".join(str(i >> bit & 1) for bit in (k, k + 3, k + 6)).ljust(8, "0"), 2)

    expected = [[channel(i, k) for k in range(3)] for i in range(256)]
    np.testing.assert_array_equal(visualization.voc_palette(), expected)
    np.testing.assert_array_equal(visualization.voc_palette(21), expected[:21])
    assert len(np.unique(visualization.voc_palette(), axis=0)) == 256


@pytest.mark.parametrize("n", [0, 257])
def test_voc_palette_has_1_to_256_colors(n):
    with pytest.raises(ValueError, match="1 to 256"):
        visualization.voc_palette(n)


def test_colorize_is_an_index_into_the_palette(mask):
    expected = np.where((mask == 255)[..., None], (224, 224, 192), PALETTE[mask % 255])
    np.testing.assert_array_equal(visualization.colorize(mask, PALETTE), expected)
    np.testing.assert_array_equal(visualization.colorize(mask), visualization.voc_palette()[mask])


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x[..., None],
        lambda x: x.astype("float32"),
        lambda x: x.astype("int64"),
        keras.ops.convert_to_tensor,
    ],
)
def test_masks_of_any_type(mask, cast):
    np.testing.assert_array_equal(visualization.colorize(cast(mask), PALETTE), visualization.colorize(mask, PALETTE))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[0, 4, 9]], "ids 4, 9 in the mask: expected 0–3"),
        ([[0, -1]], "not class ids, such as -1"),
        ([[0, 0.5]], "0.5.*nearest neighbour"),
        ([[np.nan]], "nan"),
        (np.zeros((4, 4, 3), int), "palette PNG"),
        (np.zeros((4, 4, 21)), "argmax"),
        (np.zeros((2, 4, 4, 1), int), r"expected ids \(H, W\)"),
        (np.zeros((0, 4), int), "expected ids"),
    ],
)
def test_bad_masks(bad, message):
    with pytest.raises(ValueError, match=message):
        visualization.colorize(np.asarray(bad), PALETTE)


@pytest.mark.parametrize(
    ("palette", "message"),
    [(np.zeros(3, int), "shape"), (np.full((4, 3), 300), "300"), (np.ones((4, 3)) / 2, "integers")],
)
def test_bad_palettes(mask, palette, message):
    with pytest.raises(ValueError, match=message):
        visualization.colorize(mask, palette)


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_overlay_blends_classes_and_leaves_background_and_void(image, mask, alpha):
    found = visualization.overlay(image, mask, alpha, outline=False, palette=PALETTE)
    blend = np.rint((1 - alpha) * image + alpha * PALETTE[mask % 255])
    clear = ((mask == 0) | (mask == 255))[..., None]
    np.testing.assert_allclose(found, np.where(clear, image, blend), atol=1)


def test_outlines_surround_the_classes_from_outside():
    mask = np.zeros((9, 9), int)
    mask[4, 4] = 1
    grey = np.full((9, 9, 3), 100, "uint8")
    found = visualization.overlay(grey, mask, alpha=0, palette=PALETTE)[..., 0]
    assert found[4, 4] == 100  # a thin object keeps its pixels
    assert [found[3, 4], found[5, 4], found[4, 3], found[4, 5]] == [255] * 4
    assert found[2, 4] == 40  # the dark side of the line
    assert (found[[0, -1]] == 100).all()


def test_overlay_refuses_other_sizes_and_weights(image, mask):
    with pytest.raises(ValueError, match="image has 24 x 36 pixels, the mask 36 x 24"):
        visualization.overlay(image, mask.T)
    with pytest.raises(ValueError, match="alpha=55: expected"):
        visualization.overlay(image, mask, alpha=55)


# Panels


def test_show_names_the_classes_present_once(image, mask):
    prediction = np.where(mask == 2, 3, mask % 255)
    figure = visualization.show(image, mask, prediction, NAMES, PALETTE, title="A scene")
    assert titles_of(figure) == ["image", "truth", "prediction"]
    assert legend_of(figure) == ["background", "disc", "box", "pole", "void"]
    assert figure.get_suptitle() == "A scene"
    assert not any(ax.get_xticks().size or ax.get_yticks().size for ax in figure.axes)
    np.testing.assert_array_equal(drawn(figure.axes[0]), image)
    np.testing.assert_array_equal(drawn(figure.axes[1]), visualization.colorize(mask, palette=PALETTE))
    assert png(figure).width <= 96 * 9.6


def test_show_with_an_image_alone_or_a_prediction_alone(image, mask):
    assert visualization.show(image).legends == []
    figure = visualization.show(image, prediction=mask == 1)
    assert titles_of(figure) == ["image", "prediction"]
    assert legend_of(figure) == ["class 0", "class 1"]


def test_show_from_a_file(tmp_path, image, mask):
    Image.fromarray(image).save(tmp_path / "scene.png")
    figure = visualization.show(str(tmp_path / "scene.png"), mask)
    np.testing.assert_array_equal(drawn(figure.axes[0]), image)


def test_annotations_stand_on_their_regions(image, mask):
    figure = visualization.show(image, mask, class_names=NAMES, palette=PALETTE, annotate=True)
    texts = figure.axes[1].texts
    assert sorted(text.get_text() for text in texts) == ["box", "disc"]
    for text in texts:
        x, y = text.get_position()
        assert NAMES[mask[int(y), int(x)]] == text.get_text()
    png(figure)


def test_region_centers_of_touching_hollow_and_large_regions():
    ids = np.zeros((300, 400), int)
    ids[20:120, 20:120] = 1
    ids[50:90, 50:90] = 2  # a frame of class 1 around class 2
    ids[200:280, 300:390] = 1
    ids[0, 0] = 3  # too small for a name
    centers = find_region_centers(ids)
    assert sorted(label for label, _ in centers) == [0, 1, 1, 2]
    assert all(ids[int(y), int(x)] == label for label, (x, y) in centers)


def test_show_says_what_does_not_fit(image, mask):
    with pytest.raises(ValueError, match="truth 36 x 24"):
        visualization.show(image, mask.T)
    with pytest.raises(ValueError, match="Class 2 has no name"):
        visualization.show(image, mask, class_names=NAMES[:2])
    with pytest.raises(ValueError, match="Found a prediction of shape"):
        visualization.show(image, mask, np.zeros((24, 36, 4)))


def test_compare_is_a_grid_of_images_by_columns(image, mask):
    images = [image, image[:12]]
    columns = {"FCN-32s": [mask * 0, mask[:12] * 0], "truth": [mask, mask[:12]]}
    figure = visualization.compare(images, columns, NAMES, PALETTE)
    assert titles_of(figure) == ["image", "FCN-32s", "truth", "", "", ""]
    assert legend_of(figure) == ["background", "disc", "box", "void"]
    np.testing.assert_array_equal(drawn(figure.axes[5]), visualization.colorize(mask[:12], PALETTE))
    png(figure)


@pytest.mark.parametrize(
    ("columns", "message"),
    [({}, "0 columns"), ({"truth": []}, "Found 0 masks in 'truth' for 1 images")],
)
def test_compare_says_what_is_missing(image, columns, message):
    with pytest.raises(ValueError, match=message):
        visualization.compare([image], columns)


def test_error_map_counts_as_numpy_does(mask):
    prediction = np.roll(mask, 2, axis=1)
    figure = visualization.plot_error_map(mask, prediction)
    valid = mask != 255
    wrong = valid & (mask != prediction)
    colors, counts = np.unique(drawn(figure.axes[0]).reshape(-1, 3), axis=0, return_counts=True)
    assert len(colors) == 3
    assert sorted(counts) == sorted([valid.sum() - wrong.sum(), wrong.sum(), (~valid).sum()])
    accuracy = (mask == prediction)[valid].mean()
    assert figure.axes[0].get_title() == f"pixel accuracy {100 * accuracy:.1f} %"
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[1:] == [f"wrong: {wrong.sum()}", f"void, not scored: {(~valid).sum()}"]
    png(figure)


def test_error_map_of_void_alone():
    figure = visualization.plot_error_map(np.full((3, 3), 255), np.zeros((3, 3), int))
    assert figure.axes[0].get_title() == "pixel accuracy undefined"


def test_given_axes_are_drawn_on(mask):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert visualization.plot_error_map(mask, mask, ax=left) is figure
    assert visualization.plot_confusion_matrix(np.eye(3), ax=right) is figure
    assert left.get_title() == "pixel accuracy 100.0 %"


def test_heat_maps_share_a_scale(image):
    scores = np.random.default_rng(1).normal(size=(3, 5, 4))
    figure = visualization.plot_heat_maps(image, scores, NAMES, ["pole", 1])
    pictures = [ax for ax in figure.axes if ax.get_images()]
    assert [ax.get_title() for ax in pictures] == ["image", "pole", "disc"]
    np.testing.assert_allclose(drawn(pictures[1]), scores[..., 3], rtol=1e-6)
    limits = [ax.get_images()[0].get_clim() for ax in pictures[1:]]
    assert limits[0] == limits[1] == pytest.approx((scores[..., [1, 3]].min(), scores[..., [1, 3]].max()))
    png(figure)


def test_heat_maps_choose_the_highest_peaks(image):
    scores = np.zeros((2, 2, 9))
    scores[1, 1] = [0, 7, 1, 9, 2, 8, 3, 4, 5]
    figure = visualization.plot_heat_maps(image, scores)
    assert titles_of(figure)[1:5] == ["class 3", "class 5", "class 1", "class 8"]
    png(visualization.plot_heat_maps(image, scores, classes=range(9)))


@pytest.mark.parametrize(
    ("scores", "classes", "message"),
    [
        (np.zeros((1, 2, 2, 4)), None, r"pass scores\[i\]"),
        (np.zeros((2, 2)), None, r"expected \(h, w, classes\)"),
        (np.zeros((2, 2, 4)), [4], "Found class 4: expected 0–3"),
        (np.zeros((2, 2, 4)), ["cat"], "'cat'"),
        (np.zeros((2, 2, 4)), [], "no classes"),
    ],
)
def test_bad_heat_maps(image, scores, classes, message):
    with pytest.raises(ValueError, match=message):
        visualization.plot_heat_maps(image, scores, NAMES, classes)


# Charts

HISTORY = {
    "loss": [2.0, 1.0, 0.9],
    "val_loss": [2.1, 1.2, 1.1],
    "mean_iou": [0.1, 0.4, 0.5],
    "val_mean_iou": [0.1, 0.3, np.nan],
}


def test_learning_curves_name_each_line_at_its_end():
    figure = visualization.plot_learning_curves(HISTORY)
    assert titles_of(figure) == ["loss", "mean IoU"]
    loss, mean_iou = figure.axes
    assert [text.get_text() for text in loss.texts] == ["training", "validation"]
    assert [text.get_text() for text in mean_iou.texts] == ["validation", "training"]
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 2.0], [2, 1.0], [3, 0.9]])
    png(figure)


def test_learning_curves_of_a_keras_history():
    history = keras.callbacks.History()
    history.history = HISTORY
    figure = visualization.plot_learning_curves({"FCN-32s": history, "FCN-8s": HISTORY}, ["mean_iou"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == ["FCN-32s", "FCN-32s training", "FCN-8s", "FCN-8s training"]
    heights = sorted(text.get_position()[1] for text in figure.axes[0].texts)
    assert min(np.diff(heights)) >= 0.089  # equal lines, yet no name on another


def test_learning_curves_of_one_epoch_and_of_none():
    figure = visualization.plot_learning_curves({"loss": [1.0]})
    assert figure.axes[0].lines[0].get_marker() == "o"
    png(figure)
    assert titles_of(visualization.plot_learning_curves({"loss": 2.0})) == ["loss"]
    with pytest.raises(ValueError, match="empty"):
        visualization.plot_learning_curves({})
    with pytest.raises(ValueError, match="Found metric 'accuracy', which was not recorded: expected some of loss"):
        visualization.plot_learning_curves(HISTORY, ["accuracy"])
    with pytest.raises(ValueError, match="list"):
        visualization.plot_learning_curves([1.0, 0.5])


def test_confusion_matrix_in_percent_of_the_truth():
    counts = [[6, 2, 0], [0, 0, 0], [1, 0, 999]]
    figure = visualization.plot_confusion_matrix(counts, NAMES[:3])
    ax = figure.axes[0]
    np.testing.assert_allclose(drawn(ax), [[75, 25, 0], [0, 0, 0], [0.1, 0, 99.9]])
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}
    assert len(ax.patches) == 1  # class 1 does not occur
    assert [label.get_text() for label in ax.get_yticklabels()] == NAMES[:3]
    png(figure)


def test_confusion_matrix_of_21_classes_fits_the_page():
    names = ["a class name"] * 21
    figure = visualization.plot_confusion_matrix(np.ones((21, 21), int), names)
    assert png(figure).width <= 96 * 9.6
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 9


@pytest.mark.parametrize(
    ("counts", "names", "message"),
    [
        (np.zeros((2, 3)), None, "expected .C, C."),
        ([[1, -1], [0, 1]], None, "negative"),
        (np.eye(3), ["a", "b"], "2 names for 3 classes"),
    ],
)
def test_bad_confusion_matrices(counts, names, message):
    with pytest.raises(ValueError, match=message):
        visualization.plot_confusion_matrix(counts, names)


def test_figures_leave_the_readers_settings_alone(image):
    before = dict(plt.rcParams)
    visualization.show(image)
    assert dict(plt.rcParams) == before


def test_units_lie_where_the_geometry_says():
    maps = {"fine": Geometry(8, 44, 3.5), "coarse": Geometry(32, 404, 12.5)}
    ax = visualization.plot_units_over_pixels(maps, pixels=96).axes[0]
    fine, coarse = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(fine.get_xdata(), np.arange(3.5, 96, 8))
    np.testing.assert_array_equal(coarse.get_xdata(), [12.5, 44.5, 76.5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pixels", "fine", "coarse"]
    assert {"8 i + 3.5", "32 i + 12.5"} <= {text.get_text() for text in ax.texts}


def test_units_outside_the_image_and_a_receptive_field():
    padded = {"pool4": Geometry(16, 100, -91.5)}
    ax = visualization.plot_units_over_pixels(padded, pixels=64, windows=["pool4"], margin=100).axes[0]
    (line,) = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(-91.5, 164, 16))
    bar = ax.patches[-1]
    assert (bar.get_x(), bar.get_width()) == (16 * 8 - 91.5 - 50, 100)  # unit 8 is the nearest to pixel 31.5
    assert "unit 8 sees 100 pixels" in {text.get_text() for text in ax.texts}


def test_units_of_no_map():
    with pytest.raises(ValueError, match="no maps to draw"):
        visualization.plot_units_over_pixels({})
    with pytest.raises(ValueError, match="no map 'fc7': expected one of pool4"):
        visualization.plot_units_over_pixels({"pool4": Geometry(16)}, windows=["fc7"])
