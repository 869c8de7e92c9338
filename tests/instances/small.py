"""The numbers of a Mask R-CNN that is small enough for tests."""

SMALL = {"channels": 8, "width": 16, "mask_width": 8, "mask_size": 28, "candidates": 64, "train_proposals": 48}
SMALL |= {"detect_proposals": 32, "detections": 16, "regions_drawn": 24, "anchors_drawn": 32}
