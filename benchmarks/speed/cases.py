"""The cases: each has a name, a dict that says what an engine must do, and its contestants."""

from .rounds import Contestant

BACKBONES = ("mobilenet_v2", "resnet50", "vgg16")


def cases():
    """On a CPU: the limit first, the long ones last."""
    yield "matmul", {"part": "matmul", "side": 2048}, [*_tensorflow("ours"), *_torch("eager")]
    for factor in (2, 8, 16, 32):
        for learning in (False, True):
            name = f"upsampling ×{factor}{', gradients' if learning else ''}"
            yield name, {"part": "upsampling", "factor": factor, "size": 512, "learning": learning}, UPSAMPLERS
    yield from _parts()
    for backbone in ("mobilenet_v2", "resnet50"):  # eight copies of VGG16, and of what exporters leave, want 30 GB
        for labels in (False, True):
            case = {"part": "exported", "backbone": backbone, "size": 384, "labels": labels}
            yield f"exported {backbone} 384{', labels' if labels else ''}", case, EXPORTED
    for side in GROWTH:
        yield _net("forward", 8, "mobilenet_v2", side, 1, _tensorflow("ours"), "growth")
    for backbone in BACKBONES:
        forward = [*FORWARD, *([] if backbone == "vgg16" else _tensorflow("folded"))]  # VGG has nothing to fold
        for size in (224, 384, 512):
            more = _tensorflow("ours, XLA", "keras.io") if size == 384 else []
            yield _net("forward", 8, backbone, size, 1, [*forward, *more])
        for finest in (32, 16):
            yield _net("forward", finest, backbone, 384, 1, forward)
        yield _net("forward", 8, backbone, 224, 8, forward)
        yield _net("step", 8, backbone, 224, 2, LARGE_STEP if backbone == "vgg16" else STEP)
    yield _net("step", 8, "mobilenet_v2", 384, 2, STEP)
    torchvision = [*_tensorflow("ours"), *_torch("torchvision", "torchvision, channels last")]
    yield _net("forward", 8, "resnet50", 384, 1, torchvision, "torchvision's fcn_resnet50 beside")
    for learning in (False, True):
        case = {"part": "instances", "backbone": "resnet50", "size": 256, "batch": 2, "learning": learning}
        yield f"Mask R-CNN resnet50 256, batch 2{', step' if learning else ''}", case, torchvision
    yield from _alone()


def gpu_cases():
    """On a GPU: the paper's size and schedule. Of TensorFlow, JAX and PyTorch, the installed ones take part."""
    matmul = [*_contestants("jax", "ours", "ours, bfloat16"), *_torch("eager", "eager, bfloat16")]
    yield "GPU matmul", {"part": "matmul", "side": 8192}, matmul
    for batch in (1, 8, 32):
        yield _net("forward", 8, "vgg16", 500, batch, GPU, "GPU forward")
    for batch in (1, 8):
        yield _net("step", 8, "vgg16", 500, batch, GPU, "GPU step")


def _parts():
    """Metric, loss, input, imports."""
    metric = {"part": "metric", "size": 500, "batch": 1}
    yield "metric, ids", metric | {"given": "ids"}, _tensorflow("ours", "bincount")
    yield "metric, logits", metric | {"given": "logits"}, _tensorflow("ours", "MeanIoU", "bincount")
    for size in (224, 384):
        yield f"loss {size}, batch 2", {"part": "loss", "size": size, "batch": 2}, _tensorflow("ours", "keras")
        case = {"part": "metric", "size": size, "batch": 2, "given": "logits"}
        yield f"metric {size}, batch 2", case, _tensorflow("ours")
    case = {"part": "pipeline", "images": 64, "size": 224, "batch": 2}
    yield "pipeline 224", case, _tensorflow("ours", "in memory")
    lines = ("import fcn_keras", "import keras", "import tensorflow", "import torch")
    yield "import", {"part": "command"}, _contestants("commands", *lines)


def _alone():
    """Cases that need a new process: memory, and the time from its start to a first result."""
    contestants = [
        *_tensorflow("ours", "dense"),
        *_contestants("tensorflow, malloc", "ours"),
        *_contestants("jax", "ours"),
        *_torch("eager", "eager, channels last"),
    ]
    for backbone in ("mobilenet_v2", "vgg16"):
        name, case, _ = _net("forward", 8, backbone, 512, 1, (), "alone")
        yield name, case | {"alone": True, "rounds": 3}, contestants
    for tile in (None, 1024):
        case = {"part": "segment", "height": 3000, "width": 4000, "tile": tile, "alone": True, "rounds": 3}
        yield f"segment 12 megapixels, {f'tiles of {tile}' if tile else 'whole'}", case, _tensorflow("ours")


def _net(part, finest, backbone, size, batch, contestants, title=None):
    name = f"{title or part} FCN-{finest}s {backbone} {size}, batch {batch}"
    return name, {"part": part, "finest": finest, "backbone": backbone, "size": size, "batch": batch}, contestants


def _contestants(engine, *variants):
    return [Contestant(engine, variant) for variant in variants]


def _tensorflow(*variants):
    return _contestants("tensorflow", *variants)


def _torch(*variants):
    return _contestants("torch", *variants)


GROWTH = (128, 256, 512, 1024, 2048)
PYTORCH = _torch("eager", "eager, channels last", "compiled", "compiled, channels last")
UPSAMPLERS = [
    *_tensorflow("ours", "depthwise", "dense", "ours, XLA", "depthwise, XLA", "dense, XLA"),
    *_contestants("jax", "ours", "depthwise"),
    *_torch("eager", "eager, channels last", "interpolated"),
]
FORWARD = [
    *_tensorflow("ours", "dense", "ours, bfloat16"),
    *_contestants("jax", "ours"),
    *PYTORCH,
]
# Nets of 135 million weights, of which a training step holds three copies: as many as 24 GB hold side by side.
LARGE_STEP = [*_tensorflow("ours", "ours, bfloat16"), *_contestants("jax", "ours"), *PYTORCH[:2], PYTORCH[3]]
STEP = [*_tensorflow("ours", "depthwise", "dense", "ours, bfloat16"), *_contestants("jax", "ours"), *PYTORCH]
EXPORTED = _contestants(
    "runtimes",
    *("keras", "saved_model", "onnx", "openvino", "litert", "openvino, bfloat16", "onnx, int8", "litert, int8"),
)
GPU = [
    *_tensorflow("ours", "ours, XLA", "ours, bfloat16"),
    *_contestants("jax", "ours", "ours, bfloat16"),
    *_contestants("keras on torch", "ours", "ours, bfloat16"),
    *_torch(
        *(f"{how}, {rest}" for how in ("eager", "compiled") for rest in ("channels last", "channels last, bfloat16"))
    ),
]
