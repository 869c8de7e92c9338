"""What is measured, and who does it: one dict for each case, a list of contestants for each part."""

from .rounds import Contestant

BACKBONES = ("vgg16", "mobilenet_v2", "resnet50")


def cases():
    """All cases, as ``(name, case, contestants)``: the limits first, the long ones last."""
    yield "matmul", {"part": "matmul", "side": 2048}, _keras("tensorflow", "ours") + _torch("eager")
    for factor in (2, 8, 16, 32):
        for learning in (False, True):
            name = f"upsampling ×{factor}{', gradients' if learning else ''}"
            yield name, {"part": "upsampling", "factor": factor, "size": 512, "learning": learning}, UPSAMPLERS
    ids = [*_keras("tensorflow", "ours", "bincount")]
    yield "metric, ids", {"part": "metric", "size": 500, "batch": 1, "given": "ids"}, ids
    logits = _keras("tensorflow", "ours", "MeanIoU")
    yield "metric, logits", {"part": "metric", "size": 500, "batch": 1, "given": "logits"}, logits
    for size in (224, 384):
        yield f"loss {size}", {"part": "loss", "size": size, "batch": 2}, _keras("tensorflow", "ours", "keras")
        yield (
            f"metric {size}, batch 2",
            {"part": "metric", "size": size, "batch": 2, "given": "logits"},
            _keras("tensorflow", "ours"),
        )
    for backbone in ("mobilenet_v2", "vgg16"):
        for labels in (False, True):
            case = {"part": "exported", "backbone": backbone, "size": 384, "labels": labels}
            yield f"exported {backbone} 384{', labels' if labels else ''}", case, EXPORTED
    for side in (128, 256, 512, 1024, 2048):
        yield _net("forward", 8, "mobilenet_v2", side, 1, _keras("tensorflow", "ours"), "growth")
    for backbone in reversed(BACKBONES):
        for size in (224, 384, 512):
            yield _net("forward", 8, backbone, size, 1, FORWARD)
        for finest in (32, 16):
            yield _net("forward", finest, backbone, 384, 1, FORWARD)
        yield _net("forward", 8, backbone, 224, 8, FORWARD)
        yield _net("step", 8, backbone, 224, 2, STEP)
    yield _net("step", 8, "mobilenet_v2", 384, 2, STEP)


def _net(part, finest, backbone, size, batch, contestants, title=None):
    name = f"{title or part} FCN-{finest}s {backbone} {size}, batch {batch}"
    return name, {"part": part, "finest": finest, "backbone": backbone, "size": size, "batch": batch}, contestants


def _keras(engine, *variants):
    return [Contestant(engine, variant) for variant in variants]


def _torch(*variants):
    return [Contestant("torch", variant) for variant in variants]


PYTORCH = _torch("eager", "eager, channels last", "compiled", "compiled, channels last")
UPSAMPLERS = [
    *_keras("tensorflow", "ours", "depthwise", "dense", "ours, XLA", "depthwise, XLA", "dense, XLA"),
    *_keras("jax", "ours", "depthwise"),
    *_torch("eager", "eager, channels last", "interpolated"),
]
FORWARD = [*_keras("tensorflow", "ours", "dense", "ours, XLA", "ours, bfloat16"), *_keras("jax", "ours"), *PYTORCH]
EXPORTED = [
    Contestant("runtimes", variant)
    for variant in (
        *("keras", "saved_model", "onnx", "openvino", "litert"),
        *("openvino, bfloat16", "onnx, int8", "litert, int8"),
    )
]
STEP = [*_keras("tensorflow", "ours", "depthwise", "dense", "ours, bfloat16"), *_keras("jax", "ours"), *PYTORCH]
