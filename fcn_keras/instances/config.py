"""The configuration of Mask R-CNN: the numbers of the paper, or smaller ones for small images with few objects."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class MaskRCNNConfig:
    """Sizes and thresholds of the model, and the numbers of boxes at each step.

    The defaults are for images of about 128 pixels. `PAPER` is for photographs.

    Args:
        channels: Channels of the maps of the pyramid.
        width: Units of the dense layers of the box head.
        mask_width: Channels of the convolutions of the mask head.
        mask_size: Cells along each side of a mask. It must be even, because the mask head doubles the size.
        samples: Points along each side of a cell in RoIAlign.
        anchor_scale: Side of a square anchor, in units of its level; see `fcn_keras.instances.anchors`.
        ratios: Height divided by width of the anchors.
        canonical: Side, in pixels, of a box that is read at stride 16; see
            `fcn_keras.instances.roi_align.assign_levels`.
        candidates: Boxes that enter non-maximum suppression (NMS) in each image.
        train_proposals: Proposals that are kept after NMS in training.
        detect_proposals: Proposals that are kept after NMS in detection.
        detections: Largest number of objects found in an image.
        proposal_overlap: Largest IoU of two proposals.
        detection_overlap: Largest IoU of two detections of the same class.
        least_score: Detections with a lower score are dropped.
        smallest: Least height and width of a proposal, in pixels.
        anchors_drawn: Number of anchors of an image from which a training step learns.
        regions_drawn: Number of proposals of an image from which a training step learns.
        positive_share: Largest share of `regions_drawn` that may be boxes of objects.
        anchor_overlaps: Two numbers. An anchor is background if its IoU is below the first. It belongs to an object if
            its IoU is at least the second.
        region_overlaps: The same for proposals.
        proposal_scale: Divisors of the offsets of the RPN head; see `fcn_keras.instances.boxes.encode`.
        box_scale: The same for the box head.

    Raises:
        ValueError: If the numbers contradict each other.

    Example:

    >>> MaskRCNNConfig(channels=32).channels, PAPER.candidates
    (32, 1000)

    Reference: He et al. (ICCV 2017), §3.1; Lin et al. (CVPR 2017), §4 and §5.
    """

    channels: int = 64
    width: int = 256
    mask_width: int = 32
    mask_size: int = 56
    samples: int = 1
    anchor_scale: float = 4.0
    ratios: tuple = (0.5, 1.0, 2.0)
    canonical: float = 224.0
    candidates: int = 256
    train_proposals: int = 96
    detect_proposals: int = 64
    detections: int = 32
    proposal_overlap: float = 0.7
    detection_overlap: float = 0.5
    least_score: float = 0.05
    smallest: float = 1.0
    anchors_drawn: int = 64
    regions_drawn: int = 32
    positive_share: float = 0.25
    anchor_overlaps: tuple = (0.3, 0.7)
    region_overlaps: tuple = (0.5, 0.5)
    proposal_scale: tuple = (1.0, 1.0, 1.0, 1.0)
    box_scale: tuple = (0.1, 0.1, 0.2, 0.2)

    def __post_init__(self):
        for field in ("ratios", "anchor_overlaps", "region_overlaps", "proposal_scale", "box_scale"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # JSON has lists
        if not self.candidates >= max(self.train_proposals, self.detect_proposals, self.detections):
            raise ValueError(
                f"Found candidates={self.candidates}, expected at least train_proposals ({self.train_proposals}), "
                f"detect_proposals ({self.detect_proposals}) and detections ({self.detections}). Fix: raise candidates."
            )
        if self.train_proposals < self.regions_drawn:
            raise ValueError(
                f"Found train_proposals={self.train_proposals}, expected at least regions_drawn "
                f"({self.regions_drawn}). Fix: draw fewer regions."
            )
        if not 0 < self.positive_share < 1:
            raise ValueError(f"Found positive_share={self.positive_share}, expected a number between 0 and 1.")
        if self.mask_size % 2:
            raise ValueError(f"Found mask_size={self.mask_size}, expected an even number: the mask head doubles it.")


#: The numbers of the paper, for photographs whose shorter side has 800 pixels.
PAPER = MaskRCNNConfig(
    channels=256,
    width=1024,
    mask_width=256,
    mask_size=28,
    samples=2,
    anchor_scale=8.0,
    candidates=1000,
    train_proposals=1000,
    detect_proposals=1000,
    detections=100,
    anchors_drawn=256,
    regions_drawn=512,
)
