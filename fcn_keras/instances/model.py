"""Mask R-CNN: a pyramid, proposals, and for each proposal a class, a box and a mask.

Reference: He, Gkioxari, Dollár & Girshick, *Mask R-CNN* (ICCV 2017).
"""

import keras
from keras import ops

from ..geometry import Geometry
from . import heads, losses
from .anchors import anchors
from .boxes import clip, decode, encode
from .config import Settings
from .fpn import feature_pyramid
from .matching import batched_gather, match, sample
from .nms import non_max_suppression
from .roi_align import levels_of, roi_align

#: The five losses, in the order of the paper: two of the proposal head, three of the other heads.
LOSSES = ("objectness", "proposal_box", "class", "box", "mask")


@keras.saving.register_keras_serializable(package="fcn_keras")
class MaskRCNN(keras.Model):
    """Boxes, classes and masks of the objects in an image.

    Called on images it detects; called on what `fcn_keras.instances.load` gives, as `fit` does, it returns its five
    losses. No target is needed: ``model.compile(optimizer); model.fit(dataset)``.

    Args:
        num_classes: Number of classes, background (class 0) included.
        backbone, weights: As in `fcn_keras.FCN32s`; or a pyramid, as `feature_pyramid` returns it.
        settings: `Settings`, or their fields as a dict.
        seed: Of the draws of boxes to learn from.

    Takes:
        RGB images ``(batch, H, W, 3)`` in 0–255, any size; or, to learn, a dict of ``image``, ``boxes`` ``(batch, M,
        4)``, ``classes`` ``(batch, M)`` and ``masks`` ``(batch, M, H, W)``; see `matching.match` for empty rows and
        crowds.

    Returns:
        A dict of ``boxes`` ``(batch, D, 4)``, best first, ``classes`` and ``scores`` ``(batch, D)``, ``masks``
        ``(batch, D, mask_size, mask_size)``, probabilities within the boxes. Rows of score 0 are empty. To learn: a
        dict of scalars, `LOSSES`.

    Example:

    >>> model = MaskRCNN(10, "mini_vgg", weights=None, settings={"channels": 16, "width": 32})
    >>> model(np.zeros((1, 64, 96, 3), "float32"))["masks"].shape
    TensorShape([1, 32, 56, 56])

    Reference: He et al. (ICCV 2017), §3; Lin et al. (CVPR 2017), §4; Ren et al. (NIPS 2015), §3.
    """

    def __init__(
        self, num_classes, backbone="mobilenet_v2", weights="pretrained", settings=None, seed=0, name="mask_rcnn"
    ):
        super().__init__(name=name)
        if num_classes < 2:
            raise ValueError(f"Found num_classes={num_classes}: expected 2 or more, the background is a class too.")
        settings = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
        self.num_classes, self.settings = num_classes, settings
        self.pyramid, self.places = feature_pyramid(backbone, weights, settings.channels)
        self.rpn_head = heads.rpn_head(settings.channels, len(settings.ratios))
        self.box_head = heads.box_head(settings.channels, num_classes, settings.width)
        self.mask_head = heads.mask_head(settings.channels, num_classes, settings.mask_width, settings.mask_size // 2)
        self.random = keras.random.SeedGenerator(seed)
        self.trackers = {loss: keras.metrics.Mean(loss) for loss in LOSSES}
        self.built = True

    def call(self, inputs, training=False):
        if isinstance(inputs, dict):
            return self._learn(inputs, training)
        maps, logits, offsets, frames = self._look(inputs, training)
        proposals, real = self._proposals(logits, offsets, frames, inputs, self.settings.detect_proposals)
        return self._detections(maps, proposals, real, inputs)

    def compute_output_shape(self, input_shape):
        count, side = self.settings.detections, self.settings.mask_size
        shape = {"boxes": (count, 4), "classes": (count,), "scores": (count,), "masks": (count, side, side)}
        return {name: (input_shape[0], *rest) for name, rest in shape.items()}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The sum of the five; called by `fit` with what `call` has returned."""
        for name, tracker in self.trackers.items():
            tracker.update_state(y_pred[name])
        return sum(y_pred[name] for name in LOSSES)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self.get_metrics_result()

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers.values()]

    def _look(self, images, training):
        """The maps, what the proposal head says of all anchors, and the anchors."""
        maps = self.pyramid(images, training=training)
        said = [self.rpn_head(x) for x in maps]
        logits, offsets = (ops.concatenate([one[i] for one in said], axis=1) for i in (0, 1))
        sizes = [ops.shape(x)[1:3] for x in maps]
        frames = anchors(self.places, sizes, self.settings.anchor_scale, self.settings.ratios)
        return maps, ops.cast(logits, "float32"), ops.cast(offsets, "float32"), frames

    def _proposals(self, logits, offsets, frames, images, count):
        """The `count` most promising boxes, and which are real: where too few are left, the rest are fillers.

        Boxes that overlap a better one, or are smaller than a pixel, are left out. No gradient goes back.
        """
        candidates = self.settings.candidates
        if frames.shape[0] is None or frames.shape[0] < candidates:  # images of a few pixels have fewer anchors
            logits = ops.pad(logits, ((0, 0), (0, candidates)), constant_values=-1e9)
            offsets = ops.pad(offsets, ((0, 0), (0, candidates), (0, 0)))
            frames = ops.pad(frames, ((0, candidates), (0, 0)))
        scores, best = ops.top_k(ops.stop_gradient(logits), candidates)
        frames = ops.take(frames, best, axis=0)
        boxes = decode(batched_gather(ops.stop_gradient(offsets), best), frames, self.settings.proposal_scale)
        boxes = clip(boxes, *ops.shape(images)[1:3])
        stays = non_max_suppression(boxes, self.settings.proposal_overlap)
        large = ops.all(boxes[..., 2:] - boxes[..., :2] >= self.settings.smallest, axis=-1)
        scores = ops.where(ops.logical_and(stays, large), scores, -1e9)
        scores, order = ops.top_k(scores, count)
        return batched_gather(boxes, order), scores > -1e8

    def _regions(self, maps, boxes, size):
        """The map below each box, ``(batch · R, size, size, channels)``; of P6 nothing is read, as in the paper."""
        levels = levels_of(boxes, 4, canonical=self.settings.canonical)
        cells = roi_align(maps[:4], self.places[:4], boxes, size, self.settings.samples, levels)
        return ops.reshape(cells, (-1, size, size, self.settings.channels))

    def _detections(self, maps, proposals, real, images):
        """What the heads say of the proposals: each class of each is a candidate, the best stay."""
        settings, classes = self.settings, self.num_classes - 1
        count = proposals.shape[1]
        logits, offsets = self.box_head(self._regions(maps, proposals, 7))
        scores = ops.reshape(ops.softmax(logits)[:, 1:], (-1, count, classes))
        scores = ops.reshape(ops.where(real[..., None], scores, 0.0), (-1, count * classes))
        offsets = ops.reshape(offsets[:, 1:], (-1, count * classes, 4))
        ids = ops.tile(ops.arange(1, classes + 1), (count,))
        candidates = min(settings.candidates, count * classes)
        scores, best = ops.top_k(scores, candidates)
        ids = ops.take(ids, best)
        frames = batched_gather(ops.repeat(proposals, classes, axis=1), best)
        boxes = clip(decode(batched_gather(offsets, best), frames, settings.box_scale), *ops.shape(images)[1:3])
        stays = ops.logical_and(
            non_max_suppression(boxes, settings.detection_overlap, ids), scores >= settings.least_score
        )
        scores, order = ops.top_k(ops.where(stays, scores, 0.0), settings.detections)
        boxes, ids = batched_gather(boxes, order), ops.where(scores > 0, batched_gather(ids, order), 0)
        masks = self._masks(maps, boxes, ids)
        return {"boxes": boxes, "classes": ids, "scores": scores, "masks": ops.sigmoid(masks)}

    def _masks(self, maps, boxes, ids):
        """Logits ``(batch, R, mask_size, mask_size)`` of the mask of each box's class."""
        side = self.settings.mask_size
        logits = self.mask_head(self._regions(maps, boxes, side // 2))
        own = ops.take_along_axis(logits, ops.reshape(ids, (-1, 1, 1, 1)), axis=-1)
        return ops.reshape(own, (-1, boxes.shape[1], side, side))

    def _learn(self, inputs, training):
        images, objects = inputs["image"], ops.cast(inputs["boxes"], "float32")
        classes = ops.cast(inputs["classes"], "int32")
        maps, logits, offsets, frames = self._look(images, training)
        found = self._proposal_losses(logits, offsets, frames, objects, classes)
        proposals, real = self._proposals(logits, offsets, frames, images, self.settings.train_proposals)
        return found | self._head_losses(maps, proposals, real, objects, classes, inputs["masks"])

    def _proposal_losses(self, logits, offsets, frames, objects, classes):
        settings = self.settings
        every = ops.broadcast_to(frames[None], ops.shape(offsets))
        labels, owners = match(every, objects, classes, *settings.anchor_overlaps, best_too=True)
        drawn, weights = sample(labels, settings.anchors_drawn, 0.5, self._random_like(labels))
        logits, offsets, labels = (
            batched_gather(logits, drawn),
            batched_gather(offsets, drawn),
            batched_gather(labels, drawn),
        )
        targets = encode(
            batched_gather(objects, batched_gather(owners, drawn)),
            batched_gather(every, drawn),
            settings.proposal_scale,
        )
        positive = weights * ops.cast(labels == 1, "float32")
        return {
            "objectness": losses.objectness_loss(logits, labels == 1, weights),
            "proposal_box": losses.box_loss(offsets, targets, positive, weights, beta=1 / 9),
        }

    def _head_losses(self, maps, proposals, real, objects, classes, masks):
        """Of drawn proposals; the objects' own boxes are proposals, too, so that there is something to learn from."""
        settings = self.settings
        boxes = ops.concatenate([proposals, objects], axis=1)
        real = ops.concatenate([real, classes > 0], axis=1)
        labels, owners = match(boxes, objects, classes, *settings.region_overlaps)
        drawn, weights = sample(
            ops.where(real, labels, -1), settings.regions_drawn, settings.positive_share, self._random_like(labels)
        )
        boxes, owners = batched_gather(boxes, drawn), batched_gather(owners, drawn)
        positive = weights * ops.cast(batched_gather(labels, drawn) == 1, "float32")
        ids = ops.where(positive > 0, batched_gather(classes, owners), 0)
        logits, offsets = self.box_head(self._regions(maps, boxes, 7))
        own = ops.take_along_axis(offsets, ops.reshape(ids, (-1, 1, 1)), axis=1)
        targets = encode(batched_gather(objects, owners), boxes, settings.box_scale)
        shape = (-1, settings.regions_drawn)
        found = {
            "class": losses.class_loss(ops.reshape(logits, (*shape, self.num_classes)), ids, weights),
            "box": losses.box_loss(ops.reshape(own, (*shape, 4)), targets, positive, weights),
        }
        first = int(settings.regions_drawn * settings.positive_share)  # objects' boxes stand in front
        boxes, owners, ids, positive = (x[:, :first] for x in (boxes, owners, ids, positive))
        truth = mask_targets(masks, boxes, owners, settings.mask_size)
        return found | {"mask": losses.mask_loss(self._masks(maps, boxes, ids), truth, positive)}

    def _random_like(self, labels):
        return keras.random.uniform(ops.shape(labels), seed=self.random)

    def get_config(self):
        """The pyramid stands for whatever backbone it was made of; weights are not in it: a saved model brings them."""
        return {
            "num_classes": self.num_classes,
            "backbone": keras.saving.serialize_keras_object(self.pyramid),
            "settings": self.settings.as_dict(),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"backbone": keras.saving.deserialize_keras_object(config["backbone"])})


def mask_targets(masks, boxes, owners, size=28):
    """What a box's mask should be: the mask of its object below the box, resampled as the maps are.

    Args:
        masks: Tensor ``(batch, M, H, W)`` of 0 and 1.
        boxes: Tensor ``(batch, R, 4)``.
        owners: int32 ``(batch, R)``: the row of each box's object.
        size: Height and width of the result.

    Returns:
        float32 tensor ``(batch, R, size, size)`` of 0 and 1.

    Example:

    >>> square = ops.pad(ops.ones((1, 1, 4, 4)), ((0, 0), (0, 0), (0, 0), (0, 4)))  # the left half of 4 × 8
    >>> mask_targets(square, ops.array([[[0.0, 0, 4, 8]]]), ops.array([[0]]), size=4)[0, 0, 0].numpy()
    array([1., 1., 0., 0.], dtype=float32)
    """
    count, (height, width) = boxes.shape[1], ops.shape(masks)[2:4]
    own = ops.cast(batched_gather(masks, owners), "float32")
    own = ops.reshape(own, (-1, height, width, 1))
    cut = roi_align([own], [Geometry()], ops.reshape(boxes, (-1, 1, 4)), size, samples=1)
    return ops.cast(ops.reshape(cut, (-1, count, size, size)) >= 0.5, "float32")
