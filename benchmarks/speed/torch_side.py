"""The same work in PyTorch: eager or compiled, channels first or last, on a GPU if there is one."""

import torch
from torch.nn import functional

from ..torch_nets import FCN, bilinear

CLASSES = 21
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def prepare(variant, case):
    """As `keras_side.prepare`; variants: ``eager`` or ``compiled``, then ``channels last`` and ``bfloat16`` or not."""
    torch.manual_seed(0)
    how, *switches = variant.split(", ")
    last = torch.channels_last if "channels last" in switches else torch.contiguous_format
    case = dict(case)
    part = PARTS[case.pop("part")]
    work = part(how, last, **case)

    def done():
        with torch.autocast(DEVICE, torch.bfloat16, enabled="bfloat16" in switches):
            work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return done


def forward(how, layout, *, finest, backbone, size, batch):
    """Images to logits."""
    net = _compiled(how, _forward_net(how, backbone, finest).eval().to(DEVICE, memory_format=layout))
    images = _images(batch, size, layout)

    def work():
        with torch.inference_mode():
            net(images)

    return work


def _forward_net(how, backbone, finest):
    if how != "torchvision":
        return FCN(backbone, CLASSES, finest)
    from torchvision.models import segmentation  # its one FCN: ResNet50 dilated to stride 8, upsampled by interpolation

    return segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)


def step(how, layout, *, finest, backbone, size, batch):
    """One training step: loss, gradients, SGD with momentum; batch normalisation keeps its statistics."""
    net = FCN(backbone, CLASSES, finest).train().to(DEVICE, memory_format=layout)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    images = _images(batch, size, layout)
    masks = torch.randint(0, CLASSES, (batch, *images.shape[2:]), device=DEVICE)
    run = _compiled(how, net)

    def work():
        optimizer.zero_grad()
        functional.cross_entropy(run(images), masks).backward()
        optimizer.step()

    return work


def upsampling(how, layout, *, factor, size, learning):
    """A map of class scores to `size` pixels, by a dense transposed convolution or ``interpolated`` without weights."""
    units = size // factor
    scores = torch.randn(1, CLASSES, units, units, device=DEVICE).to(memory_format=layout).requires_grad_(learning)
    if how == "interpolated":
        run = lambda x: functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)  # noqa: E731
    else:
        run = _compiled(how, bilinear(CLASSES, factor).to(DEVICE, memory_format=layout))

    def work():
        if learning:
            run(scores).square().sum().backward()
        else:
            with torch.inference_mode():
                run(scores)

    return work


def instances(how, layout, *, backbone, size, batch, learning):
    """Torchvision's Mask R-CNN with its own configuration; see `keras_side.instances`."""
    from torchvision.models import detection

    assert backbone == "resnet50"
    sizes = {"min_size": size, "max_size": size, "box_score_thresh": 0.0}
    net = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES, **sizes)
    net = net.train(learning).to(DEVICE, memory_format=layout)
    images = list(torch.rand(batch, 3, size, size, device=DEVICE))
    if not learning:
        return lambda: torch.inference_mode()(net)(images)
    corner = torch.randint(0, size // 2, (batch, 4, 2), device=DEVICE)
    boxes = torch.cat([corner, corner + size // 4], dim=-1)
    masks = torch.zeros(batch, 4, size, size, dtype=torch.uint8, device=DEVICE)
    for image in range(batch):
        for mask, (left, top, right, bottom) in zip(masks[image], boxes[image].tolist(), strict=True):
            mask[top:bottom, left:right] = 1
    ones = torch.ones(4, dtype=torch.int64, device=DEVICE)
    known = [{"boxes": b.float(), "labels": ones, "masks": m} for b, m in zip(boxes, masks, strict=True)]
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

    def work():
        optimizer.zero_grad()
        sum(net(images, known).values()).backward()
        optimizer.step()

    return work


def matmul(how, layout, *, side):
    """The machine's limit: a product of two square matrices."""
    matrix = torch.randn(side, side, device=DEVICE)
    return lambda: matrix @ matrix


def _images(batch, size, layout):
    """Noise. A size that is no multiple of 32 is rounded up to one, as our nets pad the image."""
    size = 32 * -(-size // 32)
    return torch.rand(batch, 3, size, size, device=DEVICE).to(memory_format=layout)


def _compiled(how, module):
    if how != "compiled":
        return module
    torch._dynamo.reset()  # else it sees another size of the last case's net, and compiles for all sizes, for minutes
    return torch.compile(module, dynamic=False)


PARTS = {part.__name__: part for part in (forward, step, upsampling, instances, matmul)}
