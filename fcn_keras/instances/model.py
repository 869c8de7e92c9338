"""Mask R-CNN: a feature pyramid, proposals, and a class, a box and a mask for each proposal.

Reference: He, Gkioxari, Dollár & Girshick, *Mask R-CNN* (ICCV 2017).
"""

import keras
from keras import ops

from ..geometry import Geometry
from . import heads, losses
from .anchors import make_anchors
from .boxes import batched_gather, clip, decode, encode
from .config import MaskRCNNConfig
from .fpn import feature_pyramid
from .matching import assign, subsample
from .nms import non_max_suppression
from .roi_align import assign_levels, roi_align

#: The five losses, in the order of the paper: two of the RPN head, three of the other heads.
LOSSES = ("objectness", "proposal_box", "class", "box", "mask")


@keras.saving.register_keras_serializable(package="fcn_keras")
class MaskRCNN(keras.Model):
    """Finds boxes, classes and masks of the objects in an image.

    If you call the model with images, it detects objects. If you call it with a batch from `fcn_keras.instances.load`,
    as `fit` does, it returns its five losses. It needs no targets: ``model.compile(optimizer); model.fit(dataset)``.

    Args:
        num_classes: Number of classes, background (class 0) included.
        backbone: As in `fcn_keras.FCN32s`; or a pyramid, as `feature_pyramid` returns it.
        weights: As in `fcn_keras.FCN32s`.
        config: A `MaskRCNNConfig`, or its fields as a dict.
        seed: Seed for the random draw of the boxes from which a step learns.
        name: Name of the model.
        class_names: Names of the classes, by id, background first. They are part of the saved file.

    Takes:
        RGB images ``(batch, H, W, 3)`` in 0–255, of any size. To learn, a dict of ``image``, ``boxes`` ``(batch, M,
        4)``, ``classes`` ``(batch, M)`` and ``masks`` ``(batch, M, H, W)``; `matching.assign` describes how empty rows
        and crowds are marked.

    Returns:
        A dict of ``boxes`` ``(batch, D, 4)``, best first, ``classes`` and ``scores`` ``(batch, D)``, and ``masks``
        ``(batch, D, mask_size, mask_size)``, probabilities inside the boxes. Rows of score 0 are empty. In
        training, it returns a dict of scalars, whose names are in `LOSSES`.

    Raises:
        ValueError: If `num_classes` is less than 2, or if numbers of `config` contradict each other.

    Example:

    >>> model = MaskRCNN(10, "mini_vgg", weights=None, config={"channels": 16, "width": 32})
    >>> model(np.zeros((1, 64, 96, 3), "float32"))["masks"].shape
    TensorShape([1, 32, 56, 56])

    Reference: He et al. (ICCV 2017), §3; Lin et al. (CVPR 2017), §4; Ren et al. (NIPS 2015), §3.
    """

    def __init__(
        self,
        num_classes,
        backbone="mobilenet_v2",
        weights="pretrained",
        config=None,
        seed=0,
        name="mask_rcnn",
        class_names=None,
    ):
        super().__init__(name=name)
        if num_classes < 2:
            raise ValueError(f"Found num_classes={num_classes}, expected 2 or more: the background is also a class.")
        config = config if isinstance(config, MaskRCNNConfig) else MaskRCNNConfig(**(config or {}))
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"Found {len(class_names)} class_names, expected num_classes={num_classes}.")
        self.num_classes, self.config = num_classes, config
        self.class_names = None if class_names is None else list(class_names)
        self.pyramid, self.geometries = feature_pyramid(backbone, weights, config.channels)
        self.rpn_head = heads.rpn_head(config.channels, len(config.ratios))
        self.box_head = heads.box_head(config.channels, num_classes, config.width)
        self.mask_head = heads.mask_head(config.channels, num_classes, config.mask_width, config.mask_size // 2)
        self.random = keras.random.SeedGenerator(seed)
        self.trackers = {loss: keras.metrics.Mean(loss) for loss in LOSSES}
        self.built = True

    def call(self, inputs, training=False):
        if isinstance(inputs, dict):
            return self._compute_losses(inputs, training)
        maps, logits, offsets, frames = self._judge_anchors(inputs, training)
        proposals, real = self._propose(logits, offsets, frames, inputs, self.config.detect_proposals)
        return self._detect(maps, proposals, real, inputs)

    def compute_output_shape(self, input_shape):
        count, side = self.config.detections, self.config.mask_size
        shape = {"boxes": (count, 4), "classes": (count,), "scores": (count,), "masks": (count, side, side)}
        return {name: (input_shape[0], *rest) for name, rest in shape.items()}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Adds up the five losses that `call` has returned; `fit` calls this."""
        for name, tracker in self.trackers.items():
            tracker.update_state(y_pred[name])
        return sum(y_pred[name] for name in LOSSES)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self.get_metrics_result()

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers.values()]

    def _judge_anchors(self, images, training):
        """Returns the maps of the pyramid, the RPN head's logits and offsets for all anchors, and the anchors."""
        maps = self.pyramid(images, training=training)
        judged = [self.rpn_head(x) for x in maps]
        logits, offsets = (ops.concatenate(parts, axis=1) for parts in zip(*judged, strict=True))
        sizes = [ops.shape(x)[1:3] for x in maps]
        frames = make_anchors(self.geometries, sizes, self.config.anchor_scale, self.config.ratios)
        return maps, ops.cast(logits, "float32"), ops.cast(offsets, "float32"), frames

    def _propose(self, logits, offsets, frames, images, count):
        """Returns the `count` best boxes, and which of them are real. If too few are left, others fill the rows.

        Boxes that overlap a better one and boxes smaller than a pixel are dropped. No gradient flows back.
        """
        candidates = self.config.candidates
        if frames.shape[0] is None or frames.shape[0] < candidates:  # images of a few pixels have fewer anchors
            logits = ops.pad(logits, ((0, 0), (0, candidates)), constant_values=-1e9)
            offsets = ops.pad(offsets, ((0, 0), (0, candidates), (0, 0)))
            frames = ops.pad(frames, ((0, candidates), (0, 0)))
        scores, best = ops.top_k(ops.stop_gradient(logits), candidates)
        frames = ops.take(frames, best, axis=0)
        boxes = decode(batched_gather(ops.stop_gradient(offsets), best), frames, self.config.proposal_scale)
        boxes = clip(boxes, *ops.shape(images)[1:3])
        kept = non_max_suppression(boxes, self.config.proposal_overlap)
        large = ops.all(boxes[..., 2:] - boxes[..., :2] >= self.config.smallest, axis=-1)
        scores = ops.where(ops.logical_and(kept, large), scores, -1e9)
        scores, order = ops.top_k(scores, count)
        return batched_gather(boxes, order), scores > -1e8

    def _pool_regions(self, maps, boxes, size):
        """Reads the map inside each box, ``(batch · R, size, size, channels)``. As in the paper, P6 is not read."""
        levels = assign_levels(boxes, 4, canonical=self.config.canonical)
        cells = roi_align(maps[:4], self.geometries[:4], boxes, size, self.config.samples, levels)
        return ops.reshape(cells, (-1, size, size, self.config.channels))

    def _detect(self, maps, proposals, real, images):
        """Returns the final boxes, classes and masks: the best of all pairs of a proposal and a class."""
        config, classes = self.config, self.num_classes - 1
        count = proposals.shape[1]
        logits, offsets = self.box_head(self._pool_regions(maps, proposals, 7))
        scores = ops.reshape(ops.softmax(logits)[:, 1:], (-1, count, classes))
        scores = ops.reshape(ops.where(real[..., None], scores, 0.0), (-1, count * classes))
        offsets = ops.reshape(offsets[:, 1:], (-1, count * classes, 4))
        ids = ops.tile(ops.arange(1, classes + 1), (count,))
        scores, best = ops.top_k(scores, min(config.candidates, count * classes))
        ids = ops.take(ids, best)
        frames = batched_gather(ops.repeat(proposals, classes, axis=1), best)
        boxes = clip(decode(batched_gather(offsets, best), frames, config.box_scale), *ops.shape(images)[1:3])
        kept = non_max_suppression(boxes, config.detection_overlap, ids)
        kept = ops.logical_and(kept, scores >= config.least_score)
        scores, order = ops.top_k(ops.where(kept, scores, 0.0), config.detections)
        boxes, ids = batched_gather(boxes, order), ops.where(scores > 0, batched_gather(ids, order), 0)
        masks = self._predict_masks(maps, boxes, ids)
        return {"boxes": boxes, "classes": ids, "scores": scores, "masks": ops.sigmoid(masks)}

    def _predict_masks(self, maps, boxes, ids):
        """Computes the logits ``(batch, R, mask_size, mask_size)`` of the mask of each box's class."""
        side = self.config.mask_size
        logits = self.mask_head(self._pool_regions(maps, boxes, side // 2))
        own = ops.take_along_axis(logits, ops.reshape(ids, (-1, 1, 1, 1)), axis=-1)
        return ops.reshape(own, (-1, boxes.shape[1], side, side))

    def _compute_losses(self, inputs, training):
        images, objects = inputs["image"], ops.cast(inputs["boxes"], "float32")
        classes = ops.cast(inputs["classes"], "int32")
        maps, logits, offsets, frames = self._judge_anchors(images, training)
        found = self._compute_proposal_losses(logits, offsets, frames, objects, classes)
        proposals, real = self._propose(logits, offsets, frames, images, self.config.train_proposals)
        return found | self._compute_head_losses(maps, proposals, real, objects, classes, inputs["masks"])

    def _compute_proposal_losses(self, logits, offsets, frames, objects, classes):
        config = self.config
        every = ops.broadcast_to(frames[None], ops.shape(offsets))
        labels, rows = assign(every, objects, classes, *config.anchor_overlaps, keep_best=True)
        drawn, weights = subsample(labels, config.anchors_drawn, 0.5, self._draw_like(labels))
        logits, offsets, labels, rows, frames = (
            batched_gather(values, drawn) for values in (logits, offsets, labels, rows, every)
        )
        targets = encode(batched_gather(objects, rows), frames, config.proposal_scale)
        positive = weights * ops.cast(labels == 1, "float32")
        return {
            "objectness": losses.objectness_loss(logits, labels == 1, weights),
            "proposal_box": losses.box_loss(offsets, targets, positive, weights, beta=1 / 9),
        }

    def _compute_head_losses(self, maps, proposals, real, objects, classes, masks):
        """Computes the losses of the drawn proposals. The objects' true boxes join them, so every step has objects."""
        config = self.config
        boxes = ops.concatenate([proposals, objects], axis=1)
        real = ops.concatenate([real, classes > 0], axis=1)
        labels, rows = assign(boxes, objects, classes, *config.region_overlaps)
        labels = ops.where(real, labels, -1)
        drawn, weights = subsample(labels, config.regions_drawn, config.positive_share, self._draw_like(labels))
        boxes, rows, labels = (batched_gather(values, drawn) for values in (boxes, rows, labels))
        positive = weights * ops.cast(labels == 1, "float32")
        ids = ops.where(positive > 0, batched_gather(classes, rows), 0)
        logits, offsets = self.box_head(self._pool_regions(maps, boxes, 7))
        own = ops.take_along_axis(offsets, ops.reshape(ids, (-1, 1, 1)), axis=1)
        targets = encode(batched_gather(objects, rows), boxes, config.box_scale)
        shape = (-1, config.regions_drawn)
        found = {
            "class": losses.class_loss(ops.reshape(logits, (*shape, self.num_classes)), ids, weights),
            "box": losses.box_loss(ops.reshape(own, (*shape, 4)), targets, positive, weights),
        }
        first = int(config.regions_drawn * config.positive_share)  # the boxes of objects come first
        boxes, rows, ids, positive = (x[:, :first] for x in (boxes, rows, ids, positive))
        truth = make_mask_targets(masks, boxes, rows, config.mask_size)
        return found | {"mask": losses.mask_loss(self._predict_masks(maps, boxes, ids), truth, positive)}

    def _draw_like(self, labels):
        return keras.random.uniform(ops.shape(labels), seed=self.random)

    def get_config(self):
        """Returns the arguments that build the model again. The pyramid takes the place of its backbone."""
        return {
            "num_classes": self.num_classes,
            "backbone": keras.saving.serialize_keras_object(self.pyramid),
            "config": dict(vars(self.config)),
            "name": self.name,
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if "settings" in config:  # files of the first edition
            config["config"] = config.pop("settings")
        return cls(**config | {"backbone": keras.saving.deserialize_keras_object(config["backbone"])})


def make_mask_targets(masks, boxes, rows, size=28):
    """Computes the target mask of each box: the part of its object's mask inside the box.

    `roi_align` resamples it, as it resamples the maps.

    Args:
        masks: Tensor ``(batch, M, H, W)`` of 0 and 1.
        boxes: Tensor ``(batch, R, 4)``.
        rows: int32 tensor ``(batch, R)``: the row of each box's object in `masks`.
        size: Height and width of the result.

    Returns:
        float32 tensor ``(batch, R, size, size)`` of 0 and 1.

    Example:

    >>> square = ops.pad(ops.ones((1, 1, 4, 4)), ((0, 0), (0, 0), (0, 0), (0, 4)))  # the left half of 4 × 8
    >>> make_mask_targets(square, ops.array([[[0.0, 0, 4, 8]]]), ops.array([[0]]), size=4)[0, 0, 0].numpy()
    array([1., 1., 0., 0.], dtype=float32)
    """
    count, (height, width) = boxes.shape[1], ops.shape(masks)[2:4]
    own = ops.cast(batched_gather(masks, rows), "float32")
    own = ops.reshape(own, (-1, height, width, 1))
    cut = roi_align([own], [Geometry()], ops.reshape(boxes, (-1, 1, 4)), size, samples=1)
    return ops.cast(ops.reshape(cut, (-1, count, size, size)) >= 0.5, "float32")
