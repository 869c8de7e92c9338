"""The comparisons that chapter 6 quotes: outlines of masks, and photographs.

``python -m benchmarks.super_resolution masks --seed 0`` and ``… images --seed 0``. All nets of a comparison are trained
for the same number of steps on the same scenes. Nets that are trained already are read from their files.
"""

import pathlib

import keras
import numpy as np
from keras import ops

from fcn_keras import metrics
from fcn_keras._files import atomic_write
from fcn_keras.datasets import load, prepare
from fcn_keras.datasets.images import list_images, read_image
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.models.fine_fcn import make_fine_fcn
from fcn_keras.models.loading import load_model
from fcn_keras.models.super_resolution import SuperResolver, interpolate, make_pairs, psnr_ssim

RADII = (1, 2, 4, 8)
EPOCHS = (8, 3)  # from FCN-8s to the image's size on masks of that size; then each net on masks of its own size
RATES = (1e-3, 5e-4)


def compare_masks(fcn8s, directory, *, seed=0, epochs=EPOCHS, factor=4, splits=("train", "validation"), data_dir=None):
    """Mean IoU near the boundaries of the fine masks: nets at ×1, ×2 and ×4, and a plain FCN-8s.

    All start from `fcn8s`. The plain FCN-8s and the net at ×1 are trained only on masks of the size of the image. Their
    results are enlarged by repeating labels (nearest) or by interpolating logits (bilinear).

    Args:
        fcn8s: A trained FCN-8s on the ten classes of shapes. It is left as it is.
        directory: Folder that the trained nets are kept in.
        seed: Seed of the new layers, of the order of the scenes and of dropout.
        epochs: Epochs of the two stages.
        factor: Size of the finest masks in units of the image, 2 or 4. All nets are measured on them.
        splits: What to train on and what to measure on, of the fine configs of shapes.
        data_dir: As in `fcn_keras.datasets.prepare`.

    Returns:
        Dict from a way of enlarging to a dict from ``"1"``, ``"2"``, ``"4"``, ``"8"`` (pixels of the fine masks) and
        ``"all"`` to the mean IoU, in ``[0, 1]``.

    Example:

    >>> compare_masks(keras.models.load_model("fcn8s.keras"), "runs/superresolution-0")  # doctest: +SKIP
    """
    directory = pathlib.Path(directory)

    def trained(name, build, scale, stages):
        def train():
            keras.utils.set_random_seed(100_003 * seed + 1_009 * scale)
            net = build()
            for stage in stages:
                data = [
                    load("shapes", splits[0], config=f"fine_x{scale}", data_dir=data_dir, batch=8, seed=seed * 100 + e)
                    for e in range(10 * stage, 10 * stage + epochs[stage])
                ]
                _fit(net, data, RATES[stage], PixelCrossentropy())
            return net

        return _kept(directory / f"{name}.keras", train)

    plain = trained("fcn8s", lambda: _copy(fcn8s), 1, (0, 1))
    start = trained("start", lambda: make_fine_fcn(fcn8s, 1), 1, (0,))
    nets = {k: trained(f"x{k}", lambda k=k: make_fine_fcn(start, k), k, (1,)) for k in (1, 2, 4) if k <= factor}
    ways = {"FCN-8s, nearest": (plain, "nearest"), "FCN-8s, bilinear": (plain, "bilinear")}
    ways |= {"×1, nearest": (nets[1], "nearest"), "×1, bilinear": (nets[1], "bilinear")}
    ways |= {f"×{k}": (net, "bilinear") for k, net in nets.items() if k > 1}
    images = load("shapes", splits[1], config="fine_x1", data_dir=data_dir, batch=4)
    truths = load("shapes", splits[1], config=f"fine_x{factor}", data_dir=data_dir, batch=4)
    return near_boundaries(ways, ((batch, truth) for (batch, _), (_, truth) in zip(images, truths, strict=True)))


def near_boundaries(ways, batches, radii=RADII):
    """Mean IoU within some pixels of a boundary, for several ways to get masks as fine as the truth.

    Args:
        ways: Dict from a name to a model, whose logits may be coarser than the truth, and how they are enlarged:
            ``"nearest"``, the labels repeated, or ``"bilinear"``, the logits interpolated.
        batches: Pairs of images ``(batch, H, W, 3)`` and fine masks ``(batch, kH, kW)``.
        radii: Pixels of the fine masks, see `fcn_keras.metrics.trimap`.

    Returns:
        As `compare_masks`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    >>> batches = [(np.ones((1, 4, 4, 3), "float32"), np.eye(8, dtype="int32")[None])]
    >>> list(near_boundaries({"×1": (model, "bilinear")}, batches, radii=(1,))["×1"])
    ['1', 'all']

    Reference: Krähenbühl & Koltun (NIPS 2011); Chen et al. (ICLR 2015): mean IoU by the width of the band.
    """
    counts = {name: {} for name in ways}
    for images, truth in batches:
        truth = ops.convert_to_numpy(truth).astype("int32")
        bands = {str(r): metrics.trimap(truth, r) for r in radii} | {"all": truth}
        logits = {id(net): net.predict_on_batch(images) for net, _ in ways.values()}
        for name, (net, method) in ways.items():
            labels = _enlarged(logits[id(net)], truth.shape[1:], method)
            for band, masks in bands.items():
                found = metrics.confusion_matrix(masks, labels, logits[id(net)].shape[-1])
                counts[name][band] = counts[name].get(band, 0) + ops.convert_to_numpy(found).astype("int64")
    return {
        name: {band: float(metrics.scores(confusion)["mean_iou"]) for band, confusion in of.items()}
        for name, of in counts.items()
    }


def _enlarged(logits, size, method):
    if method == "nearest":
        labels = ops.argmax(logits, axis=-1)[..., None]
        return ops.image.resize(ops.cast(labels, "float32"), size, "nearest")[..., 0]
    return ops.argmax(ops.image.resize(logits, size, method), axis=-1)


def compare_images(train, held_out, directory, *, factors=(2, 4), steps=1500, seed=0):
    """PSNR and SSIM of enlarged images: bilinear, bicubic and the super-resolver.

    Args:
        train, held_out: Lists of RGB arrays ``(H, W, 3)`` in 0–255. Those to train on have sides of at least 96 pixels.
        directory: Folder that the trained nets are kept in.
        factors: Factors to enlarge by.
        steps: Training steps, of 16 pieces of 96×96 pixels.
        seed: Seed of weights and of the order of the pieces.

    Returns:
        Dict from ``"×2"`` to a dict from ``bilinear``, ``bicubic``, ``network`` to what `psnr_ssim` gives.

    Example:

    >>> compare_images(photographs[100:], photographs[:100], "runs/photographs")  # doctest: +SKIP
    """
    results = {}
    for factor in factors:

        def train_net(factor=factor):
            keras.utils.set_random_seed(seed)
            net = SuperResolver(factor)
            rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
            net.compile(keras.optimizers.Adam(rate), "mae", jit_compile=False)
            net.fit(make_pairs(train, factor, seed=seed), steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)
            return net

        net = _kept(pathlib.Path(directory) / f"images_x{factor}.keras", train_net)
        ways = {m: lambda low, m=m, f=factor: interpolate(low, f, m) for m in ("bilinear", "bicubic")}
        ways["network"] = net
        results[f"×{factor}"] = {name: psnr_ssim(held_out, factor, way) for name, way in ways.items()}
    return results


def scenes(split, data_dir=None):
    """The images of a split of shapes, as a list.

    Example:

    >>> scenes("train[:2]")[0].shape
    (128, 128, 3)
    """
    examples = prepare("shapes", data_dir=data_dir).as_dataset(split=split)
    return [example["image"] for example in examples.as_numpy_iterator()]


def photographs(folder, smallest=96, seed=0):
    """The photographs of a folder, in an order that depends on the seed.

    Args:
        folder: Folder of JPEG or PNG files.
        smallest: Photographs with a shorter side, in pixels, are left out.
        seed: Seed of the order.

    Returns:
        List of uint8 arrays ``(H, W, 3)``.

    Raises:
        ValueError: If there is no such folder, or no photograph large enough in it.

    Example:

    >>> photographs("~/Pictures")  # doctest: +SKIP
    """
    files = list_images(folder)
    found = [image for image in map(read_image, files) if min(image.shape[:2]) >= smallest]
    if not found:
        raise ValueError(
            f"Found {len(files)} JPEG and PNG files in {folder}, none of them at least {smallest} pixels a side: "
            "expected some dozens. Fix: name another folder."
        )
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[i] for i in order]


def _copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _fit(net, epochs, rate, loss):
    steps = sum(len(data) for data in epochs)
    schedule = keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=0.9)
    net.compile(keras.optimizers.Adam(schedule), loss, jit_compile=False)
    for data in epochs:
        net.fit(data, verbose=0, shuffle=False)


def _kept(path, train):
    """A net from its file; where there is none, it is trained and written."""
    if path.exists():
        return load_model(path)
    net = train()
    atomic_write(path, net.save)
    return net
