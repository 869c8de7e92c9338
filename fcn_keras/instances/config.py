"""The numbers of Mask R-CNN: those of the paper, or smaller ones for small images and few objects."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes, thresholds and how many boxes; defaults for images of about 128 pixels, `PAPER` for photographs.

    Args:
        channels, width, mask_width: Channels of the pyramid, units of the box head, channels of the mask head.
        mask_size: Cells along a side of a mask, an even number: the mask head has half as many and doubles them.
        samples: Points that are read along a side of each cell.
        anchor_scale: Side of an anchor in units of its level; see `fcn_keras.instances.anchors`.
        ratios: Height over width of the anchors.
        canonical: Side of a box that is read from stride 16; see `fcn_keras.instances.roi_align.levels_of`.
        candidates: Boxes that non-maximum suppression looks at, in each image.
        train_proposals, detect_proposals: Proposals that are left, to learn from and to detect with.
        detections: The most that is found in an image.
        proposal_overlap, detection_overlap: Boxes that overlap a better one by more than this go.
        least_score: Detections below are left out.
        smallest: Height and width in pixels that a proposal must have.
        anchors_drawn, regions_drawn, positive_share: Boxes that a step learns from, and how many may be objects'.
        anchor_overlaps, region_overlaps: Background below the first, an object's from the second on.
        proposal_scale, box_scale: What offsets are divided by; see `fcn_keras.instances.boxes.encode`.

    Raises:
        ValueError: If numbers do not fit each other.

    Example:

    >>> Settings(channels=32).channels, PAPER.candidates
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
            object.__setattr__(self, field, tuple(getattr(self, field)))  # a saved model brings lists
        if not self.candidates >= max(self.train_proposals, self.detect_proposals, self.detections):
            raise ValueError(
                f"Found candidates={self.candidates}: expected at least train_proposals ({self.train_proposals}), "
                f"detect_proposals ({self.detect_proposals}) and detections ({self.detections})."
            )
        if self.train_proposals < self.regions_drawn or not 0 < self.positive_share < 1:
            raise ValueError(
                f"Found train_proposals={self.train_proposals}, regions_drawn={self.regions_drawn}, positive_share="
                f"{self.positive_share}: expected as many proposals as regions at least, and a share between 0 and 1."
            )
        if self.mask_size % 2:
            raise ValueError(f"Found mask_size={self.mask_size}: expected an even number, as the mask head doubles.")

    def as_dict(self):
        """The fields, for JSON."""
        return dataclasses.asdict(self)


#: The paper's numbers, for photographs whose shorter side is 800 pixels.
PAPER = Settings(
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
