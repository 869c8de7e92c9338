"""Makes ``torchvision.npz``, what torchvision and PyTorch compute on random numbers; the tests compare with it.

    python tests/instances/make_references.py

in an environment with torchvision, which need not be the project's. Made with torch 2.14, torchvision 0.29.
"""

import pathlib

import numpy as np
import torch
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder


def main():
    """Writes the file next to this one."""
    random = np.random.default_rng(0)
    found = {**regions(random), **pyramid(random), **suppression(random), **offsets(random), **pasted(random)}
    np.savez_compressed(pathlib.Path(__file__).with_name("torchvision.npz"), **found)


def boxes(random, count, height, width):
    """Random boxes inside an image as (x1, y1, x2, y2), torchvision's order."""
    corners = np.sort(random.uniform(0, 1, (count, 2, 2)), axis=1) * [width, height]
    return corners.reshape(count, 4).astype("float32")


def regions(random):
    """RoIAlign of one map, at stride 4, in two sizes."""
    x, where = random.normal(size=(2, 3, 13, 17)).astype("float32"), boxes(random, 12, 52, 68)
    image = np.repeat([0, 1], 6)
    rois = torch.tensor(np.column_stack([image, where]).astype("float32"))
    out = {"roi_map": x, "roi_boxes": where}
    for size, samples in ((7, 2), (14, 1), (3, 3)):
        result = ops.roi_align(torch.tensor(x), rois, size, 1 / 4, samples, aligned=True)
        out[f"roi_{size}_{samples}"] = result.numpy()
    return out


def pyramid(random):
    """The level, one of four, from which each box is read."""
    where = boxes(random, 40, 512, 640)
    mapper = ops.poolers.LevelMapper(2, 5, canonical_scale=224, canonical_level=4)
    return {"level_boxes": where, "levels": mapper([torch.tensor(where)]).numpy()}


def suppression(random):
    """Non-maximum suppression at three thresholds, boxes best first, alone and by classes."""
    where = boxes(random, 80, 30, 30)
    scores, classes = torch.arange(80, 0, -1).float(), random.integers(0, 3, 80)
    out = {"nms_boxes": where, "nms_classes": classes}
    for threshold in (0.3, 0.5, 0.7):
        out[f"nms_{threshold}"] = ops.nms(torch.tensor(where), scores, threshold).numpy()
        by_class = ops.batched_nms(torch.tensor(where), scores, torch.tensor(classes), threshold)
        out[f"nms_by_class_{threshold}"] = by_class.numpy()
    out["iou"] = ops.box_iou(torch.tensor(where), torch.tensor(where)).numpy()
    return out


def offsets(random):
    """Boxes as offsets from others, and back."""
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    where, anchors = (torch.tensor(boxes(random, 20, 60, 60) + np.float32([0, 0, 3, 3])) for _ in range(2))
    deltas = coder.encode_single(where, anchors)
    wild = torch.tensor(random.normal(size=(20, 4)).astype("float32") * 20)
    return {
        **{"coded_boxes": where.numpy(), "coded_anchors": anchors.numpy(), "coded": deltas.numpy()},
        **{"wild": wild.numpy(), "decoded": coder.decode_single(wild, anchors).numpy()},
    }


def pasted(random):
    """Masks in images, by grid_sample: half pixels, zero beyond the mask."""
    where = boxes(random, 6, 30, 40) + np.float32([-3, -2, 5, 4])
    masks, out = random.uniform(size=(6, 28, 28)).astype("float32"), []
    for mask, (x1, y1, x2, y2) in zip(masks, where, strict=True):
        y, x = (torch.arange(n) + 0.5 for n in (30, 40))
        y, x = (y - float(y1)) / float(y2 - y1) * 2 - 1, (x - float(x1)) / float(x2 - x1) * 2 - 1
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None].float()
        values = torch.nn.functional.grid_sample(torch.tensor(mask)[None, None], grid, align_corners=False)
        out.append(values[0, 0].numpy())
    return {"pasted_boxes": where, "pasted_masks": masks, "pasted": np.stack(out)}


if __name__ == "__main__":
    main()
