"""An FCN in torchvision's manner, in PyTorch: its head on the last map, its training, on Keras' MobileNetV2.

- The backbone's last strides become dilations; the output stride is 16, as in torchvision's MobileNet segmenters (its
  ResNets have 8).
- Head: 3×3 convolution to a quarter of the channels without bias, batch normalisation, ReLU, dropout 0.1, 1×1
  convolution. Logits are interpolated bilinearly to the image, ``align_corners=False``.
- SGD with the defaults of its reference script: rate 0.01, momentum 0.9, weight decay 1e-4, polynomial decay of power
  0.9 at each step; mean cross-entropy, void ignored, no auxiliary head.
- All layers are trained at one rate, also the batch normalisation of the backbone. First it gets the statistics of this
  data, without changing what the backbone computes (`unfold`): converted weights may have it folded into the
  convolutions, and SGD at 0.01 destroys convolutions that are no longer normalised.
"""

import itertools
import time

import keras
import torch
from torch import nn
from torch.nn import functional

from fcn_keras.models import backbones

from ..torch_nets import MobileNetV2

VOID = 255


def run(task, directory):
    """Trains and measures the net; arguments and returns as in `ours.run`.

    Raises:
        ValueError: If the task has another backbone.
    """
    if task.recipe.backbone != "mobilenet_v2":
        raise ValueError(f"Found backbone={task.recipe.backbone!r}: this contestant has mobilenet_v2 only.")
    torch.manual_seed(task.seed)
    backbone = MobileNetV2(output_stride=16)
    copy_weights(backbones.get("mobilenet_v2").feature_extractor(task.recipe.weights), backbone)
    unfold(backbone, torch.cat([channels_first(images) for images, _ in itertools.islice(task.arrays(), 4)]))
    net = nn.Sequential(backbone, fcn_head(1280, len(task.class_names))).to(memory_format=torch.channels_last)
    seconds = trained(net, task)
    net.eval()

    def predict(images):
        with torch.inference_mode():
            return logits(net, images).permute(0, 2, 3, 1).numpy()

    found = task.measured(predict)
    return {**found, "seconds_per_step": seconds, "parameters": sum(p.numel() for p in net.parameters())}


def trained(net, task):
    """Trains on the task's batches; seconds per step."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / task.steps) ** 0.9)
    started = time.perf_counter()
    for images, masks in task.arrays():
        target = torch.tensor(masks, dtype=torch.long)
        loss = functional.cross_entropy(logits(net, images), target, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return (time.perf_counter() - started) / task.steps


def logits(net, images):
    """From a NumPy array ``(batch, H, W, 3)`` in 0–255 to a tensor ``(batch, C, H, W)``."""
    coarse = net(channels_first(images))
    return functional.interpolate(coarse, size=images.shape[1:3], mode="bilinear", align_corners=False)


def channels_first(images):
    """A NumPy array in 0–255 as a tensor ``(batch, 3, H, W)`` in −1 to 1."""
    return torch.tensor(images).permute(0, 3, 1, 2) / 127.5 - 1


def fcn_head(channels, num_classes):
    """The head of torchvision's FCNs."""
    inner = channels // 4
    return nn.Sequential(
        nn.Conv2d(channels, inner, 3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(inner, num_classes, 1),
    )


def copy_weights(source, target):
    """Copies a Keras network's weights into PyTorch modules of the same layers in the same order."""
    kinds = keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.BatchNormalization
    layers = [layer for layer in source.layers if isinstance(layer, kinds)]
    modules = [module for module in target.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    for layer, module in zip(layers, modules, strict=True):
        if isinstance(module, nn.BatchNorm2d):
            own = (module.weight, module.bias, module.running_mean, module.running_var)
            values = layer.get_weights()
        else:  # (height, width, in, out); of a depthwise one (height, width, in, 1)
            own, axes = (module.weight,), (2, 3, 0, 1) if module.groups > 1 else (3, 2, 0, 1)
            values = [kernel.transpose(axes) for kernel in layer.get_weights()]
        for parameter, value in zip(own, values, strict=True):
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(value.copy()))


def unfold(network, images):
    """Gives batch normalisation the statistics of these images, and the scale and shift that undo them."""

    @torch.no_grad()
    def adapt(layer, inputs):
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
        layer.bias.add_((mean - layer.running_mean) * scale)
        layer.weight.copy_(scale * torch.sqrt(variance + layer.eps))
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)

    network.eval()
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(adapt) for layer in layers]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
