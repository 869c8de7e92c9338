"""Peers in plain PyTorch: backbones with maps at strides 8, 16 and 32, and FCNs on top of them.

The layers are those of `keras.applications`, so that the same work is compared, and weights can be copied. Upsampling
is the dense `ConvTranspose2d` with a bilinear start, as in FCNs written in PyTorch.
"""

import torch
from torch import nn
from torch.nn import functional

# Expansion, channels, blocks, stride: Sandler et al., MobileNetV2 (CVPR 2018), Table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Sequential):
    """The layers of `keras.applications.MobileNetV2` without top, from images in −1 to 1 to the last map.

    Args:
        output_stride: 32 as published. With 16 or 8, later strides become 1 and the layers after them are dilated, so
            that weights and receptive fields stay the same.
    """

    def __init__(self, output_stride=32):
        layers = [*convolution(3, 32, 3, stride=2), nn.ReLU6()]
        channels, stride, dilation = 32, 2, 1
        for expansion, wide, blocks, first in STAGES:
            for step in [first, *[1] * (blocks - 1)]:
                dilated = dilation
                if step == 2 and stride == output_stride:
                    step, dilation = 1, 2 * dilation
                stride *= step
                layers.append(Block(channels, wide, expansion, step, dilated))
                channels = wide
        super().__init__(*layers, *convolution(channels, 1280, 1), nn.ReLU6())


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project; the input is added where the shapes agree."""

    def __init__(self, channels, wide, expansion, stride, dilation):
        super().__init__()
        inner = channels * expansion
        expand = [*convolution(channels, inner, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*convolution(inner, inner, 3, stride, dilation, groups=inner), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *convolution(inner, wide, 1))
        self.adds = stride == 1 and channels == wide

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


def convolution(channels, filters, kernel, stride=1, dilation=1, groups=1):
    """Padding as in Keras' MobileNetV2, a convolution without bias, batch normalisation."""
    padding = 0 if stride == 2 else dilation * (kernel // 2)
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, dilation, groups, bias=False)
    return [*([PadBehind()] if stride == 2 else []), layer, nn.BatchNorm2d(filters, eps=1e-3)]


class PadBehind(nn.Module):
    """One pixel at the bottom and right; where a side is odd, also one at the top or left."""

    def forward(self, x):
        height, width = x.shape[-2:]
        return functional.pad(x, (width % 2, 1, height % 2, 1))


class MobileNetV2Maps(nn.Module):
    """Maps of 192, 576 and 1,280 channels: the expansions inside blocks 6 and 13, and the last map."""

    channels = (192, 576, 1280)

    def __init__(self):
        super().__init__()
        self.layers = MobileNetV2()
        self.sources = [layer for layer in self.layers if isinstance(layer, Block)]
        self.sources = (self.sources[6], self.sources[13])

    def forward(self, x):
        maps = []
        for layer in self.layers:
            if layer in self.sources:
                expand, rest = layer.layers[:3], layer.layers[3:]  # convolution, batch normalisation, ReLU6
                maps.append(expand(x))
                x = rest(maps[-1])
            else:
                x = layer(x)
        return [*maps, x]


class VGG16Maps(nn.Module):
    """Pool3, pool4, and fc7 as a convolution, 4,096 wide with its kernel of 7 × 7."""

    channels = (256, 512, 4096)

    def __init__(self):
        super().__init__()
        stages, channels = [], 3
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            layers = []
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        head = [nn.Conv2d(512, 4096, 7, padding=3), nn.ReLU(), nn.Dropout(), nn.Conv2d(4096, 4096, 1), nn.ReLU()]
        self.to_pool3, self.to_pool4 = nn.Sequential(*stages[:3]), stages[3]
        self.to_fc7 = nn.Sequential(stages[4], *head, nn.Dropout())

    def forward(self, x):
        pool3 = self.to_pool3(x)
        pool4 = self.to_pool4(pool3)
        return [pool3, pool4, self.to_fc7(pool4)]


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 with batch normalisation, added to the input: He et al. (CVPR 2016), Figure 5."""

    def __init__(self, channels, width, stride):
        super().__init__()
        layers = []
        for inputs, outputs, kernel, step in (
            (channels, width, 1, stride),
            (width, width, 3, 1),
            (width, 4 * width, 1, 1),
        ):
            layers += [nn.Conv2d(inputs, outputs, kernel, step, kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        straight = channels == 4 * width
        shortcut = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))
        self.shortcut = nn.Identity() if straight else shortcut

    def forward(self, x):
        return functional.relu(self.layers(x) + self.shortcut(x))


class ResNet50Maps(nn.Module):
    """The ends of stages 3, 4 and 5; strides are on the first convolution of a block, as in Keras."""

    channels = (512, 1024, 2048)

    def __init__(self):
        super().__init__()
        stages, channels = [], 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            blocks = [Bottleneck(channels, width, stride)]
            channels = 4 * width
            blocks += [Bottleneck(channels, width, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        stem = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.stages = nn.ModuleList([nn.Sequential(*stem, *stages[:2]), *stages[2:]])

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class FCN(nn.Module):
    """FCN-32s, 16s or 8s: images ``(batch, 3, H, W)``, sides multiples of 32, to logits of their size.

    Args:
        backbone: One of `MAPS`.
        classes: Number of classes.
        finest: 32, 16 or 8.
    """

    def __init__(self, backbone, classes, finest=8):
        super().__init__()
        self.maps = MAPS[backbone]()
        used = self.maps.channels[{32: 2, 16: 1, 8: 0}[finest] :][::-1]  # coarse to fine
        self.scores = nn.ModuleList([nn.Conv2d(channels, classes, 1) for channels in used])
        factors = [2] * (len(used) - 1) + [finest]
        self.upsample = nn.ModuleList([bilinear(classes, factor) for factor in factors])

    def forward(self, x):
        maps = self.maps(x)[::-1]
        total = self.scores[0](maps[0])
        for finer, score, up in zip(maps[1:], self.scores[1:], self.upsample, strict=False):
            total = up(total) + score(finer)
        return self.upsample[-1](total)


def bilinear(channels, factor):
    """A dense transposed convolution that starts bilinear and gives `factor` times the size."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, bias=False)
    line = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(line, line)
    return layer


MAPS = {"vgg16": VGG16Maps, "mobilenet_v2": MobileNetV2Maps, "resnet50": ResNet50Maps}
