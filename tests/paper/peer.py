"""The released nets in PyTorch, with their crops as plain numbers, for comparison.

    python tests/paper/peer.py

writes ``logits.npz`` beside this file: what PyTorch gives for images of a few sizes, and with noise on the transposed
convolutions; of the larger images every seventh row and column. It was made with torch 2.13.0. The tests compare with
these numbers and need NumPy only.
"""

import pathlib

import numpy as np

STORED = pathlib.Path(__file__).parent / "logits.npz"
CLASSES = 5
SIZE = (13, 21)
LARGER = [(37, 53), (101, 64)]
EVERY = (slice(None), slice(None, None, 7), slice(None, None, 7))
VGG = [
    ("conv1_1", 4, 3, 3), ("conv1_2", 4, 4, 3), "pool",
    ("conv2_1", 8, 4, 3), ("conv2_2", 8, 8, 3), "pool",
    ("conv3_1", 16, 8, 3), ("conv3_2", 16, 16, 3), ("conv3_3", 16, 16, 3), "pool",
    ("conv4_1", 32, 16, 3), ("conv4_2", 32, 32, 3), ("conv4_3", 32, 32, 3), "pool",
    ("conv5_1", 32, 32, 3), ("conv5_2", 32, 32, 3), ("conv5_3", 32, 32, 3), "pool",
    ("fc6", 256, 32, 7), ("fc7", 256, 256, 1), ("score_fr", CLASSES, 256, 1),
]  # fmt: skip
ALEXNET = [
    ("conv1", 6, 3, 11), ("conv2", 16, 3, 5), ("conv3", 24, 16, 3), ("conv4", 24, 12, 3), ("conv5", 16, 12, 3),
    ("fc6", 256, 16, 6), ("fc7", 256, 256, 1), ("score_fr", CLASSES, 256, 1),
]  # fmt: skip
SCORE_POOL4, SCORE_POOL3 = ("score_pool4", CLASSES, 32, 1), ("score_pool3", CLASSES, 16, 1)
NETS = {
    "CaffeFCN32s": [*VGG],
    "CaffeFCN16s": [*VGG, SCORE_POOL4],
    "CaffeFCN8s": [*VGG, SCORE_POOL4, SCORE_POOL3],
    "CaffeFCN8sAtOnce": [*VGG, SCORE_POOL4, SCORE_POOL3],
    "CaffeFCNAlexNet": ALEXNET,
}
UPSCORES = {
    "CaffeFCN32s": {"upscore": 64},
    "CaffeFCN16s": {"upscore2": 4, "upscore16": 32},
    "CaffeFCN8s": {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16},
    "CaffeFCN8sAtOnce": {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16},
    "CaffeFCNAlexNet": {"upscore": 63},
}
SCALES = {"pool4": 0.01, "pool3": 0.0001}  # at once


def state_dict(net, bilinear=True):
    """Random weights by name, drawn separately for each layer, and large enough that each layer changes the logits."""
    state = {}
    for name, outputs, inputs, kernel in (layer for layer in NETS[net] if layer != "pool"):
        rng = np.random.default_rng([*name.encode()])
        gain = 1 / SCALES[name[6:]] if net == "CaffeFCN8sAtOnce" and name[6:] in SCALES else 1
        spread = gain * np.sqrt(2 / (inputs * kernel**2))
        state[f"{name}.weight"] = rng.normal(scale=spread, size=(outputs, inputs, kernel, kernel)).astype("float32")
        state[f"{name}.bias"] = rng.normal(size=outputs).astype("float32")
    for name, size in UPSCORES[net].items():
        kernel = np.eye(CLASSES)[:, :, None, None] * tent(size)
        noise = np.random.default_rng([*name.encode()]).normal(scale=0.05, size=kernel.shape)
        state[f"{name}.weight"] = (kernel + (0 if bilinear else noise)).astype("float32")
    return state


def tent(size):
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    return line[:, None] * line


def picture(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


def forward(net, state, image):
    """Logits ``(1, H, W, classes)`` of an RGB image ``(1, H, W, 3)``, computed by PyTorch."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    state = {name: torch.from_numpy(value) for name, value in state.items()}
    bgr = image[..., ::-1] - np.array([104.00699, 116.66877, 122.67892], "float32")
    x = torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy())

    def conv(x, name, **kwargs):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **kwargs)

    def up(x, name, stride):
        return F.conv_transpose2d(x, state[f"{name}.weight"], stride=stride)

    def crop(x, offset, like):
        return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    def skip(pool, name):
        return conv(pool * SCALES[name] if net == "CaffeFCN8sAtOnce" else pool, f"score_{name}")

    data, pools = x, []
    if net == "CaffeFCNAlexNet":
        x = F.max_pool2d(F.relu(conv(x, "conv1", stride=4, padding=100)), 3, 2, ceil_mode=True)
        x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1)
        x = F.max_pool2d(F.relu(conv(x, "conv2", padding=2, groups=2)), 3, 2, ceil_mode=True)
        x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1)
        x = F.relu(conv(x, "conv3", padding=1))
        x = F.relu(conv(x, "conv4", padding=1, groups=2))
        x = F.max_pool2d(F.relu(conv(x, "conv5", padding=1, groups=2)), 3, 2, ceil_mode=True)
    else:
        for layer in VGG[:18]:
            if layer == "pool":
                x = F.max_pool2d(x, 2, 2, ceil_mode=True)
                pools.append(x)
            else:
                x = F.relu(conv(x, layer[0], padding=100 if layer[0] == "conv1_1" else 1))
    x = conv(F.relu(conv(F.relu(conv(x, "fc6")), "fc7")), "score_fr")
    if net == "CaffeFCN32s":
        x = crop(up(x, "upscore", 32), 19, data)
    elif net == "CaffeFCNAlexNet":
        x = crop(up(x, "upscore", 32), 18, data)
    else:
        x = up(x, "upscore2", 2)
        x = x + crop(skip(pools[3], "pool4"), 5, x)
        if net == "CaffeFCN16s":
            x = crop(up(x, "upscore16", 16), 27, data)
        else:
            x = up(x, "upscore_pool4", 2)
            x = x + crop(skip(pools[2], "pool3"), 9, x)
            x = crop(up(x, "upscore8", 8), 31, data)
    return x.numpy().transpose(0, 2, 3, 1)


def main():
    found = {}
    for net in NETS:
        state, noisy = state_dict(net), state_dict(net, bilinear=False)
        found[net] = forward(net, state, picture(*SIZE))
        found |= {f"{net}_{h}x{w}": forward(net, state, picture(h, w))[EVERY] for h, w in LARGER}
        found[f"{net}_noisy"] = forward(net, noisy, picture(29, 40))[EVERY]
    np.savez_compressed(STORED, **found)
    print(f"wrote {STORED}, {STORED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
