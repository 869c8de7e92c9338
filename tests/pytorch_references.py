"""Makes ``pytorch_references.npz``, what PyTorch computes on random numbers; the tests of several rooms compare with it.

    python tests/pytorch_references.py

in an environment with PyTorch, which need not be the project's; the tests need NumPy only. Made with torch 2.13.0 on a
CPU. Images and maps are stored as Keras has them, ``(batch, height, width, channels)``; kernels as PyTorch has them.
"""

import pathlib

import numpy as np

STORED = pathlib.Path(__file__).with_suffix(".npz")


def stored(part):
    """The arrays of one part, by name without it."""
    with np.load(STORED) as file:
        return {name.removeprefix(f"{part}/"): file[name] for name in file.files if name.startswith(f"{part}/")}


def normal(random, *shape, scale=1.0):
    return random.normal(scale=scale, size=shape).astype("float32")


def steps(torch, random, shapes, count, make):
    """Parameters before and after each of some steps, and the gradients of each."""
    found = {f"step_0/{i}": normal(random, *shape) for i, shape in enumerate(shapes)}
    parameters = [torch.nn.Parameter(torch.tensor(found[f"step_0/{i}"])) for i in range(len(shapes))]
    optimizer = make(parameters)
    for step in range(1, count + 1):
        for i, parameter in enumerate(parameters):
            gradient = found[f"gradient_{step}/{i}"] = normal(random, *shapes[i])
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        found |= {f"step_{step}/{i}": parameter.detach().numpy().copy() for i, parameter in enumerate(parameters)}
    return found


def layerwise(torch, random):
    """Two layers of a kernel and a bias; the first learns at a tenth of the rate, and biases do not decay."""

    def groups(parameters, rate=0.01):
        rates = (0.1 * rate, 0.1 * rate, rate, rate)
        return [
            {"params": [p], "lr": r, "weight_decay": 0.1 * (p.ndim > 1)} for p, r in zip(parameters, rates, strict=True)
        ]

    shapes = [(3, 4), (4,), (2, 3), (3,)]
    yield "adamw", steps(torch, random, shapes, 4, lambda ps: torch.optim.AdamW(groups(ps), eps=1e-12))
    yield "sgd", steps(torch, random, shapes, 4, lambda ps: torch.optim.SGD(groups(ps), momentum=0.9))


def caffe_sgd(torch, random):
    """A kernel that decays, and a bias of twice the rate that does not: PyTorch's decay is also L2 in the gradient."""

    def make(parameters):
        kernel, bias = parameters
        groups = [{"params": [kernel], "lr": 0.03, "weight_decay": 0.4}, {"params": [bias], "lr": 0.06}]
        return torch.optim.SGD(groups, momentum=0.99)

    yield "caffe_sgd", steps(torch, random, [(3, 4), (4,)], 3, make)


def pixel_losses(torch, random):
    """Cross-entropy and its gradient: both reductions, with and without class weights and label smoothing."""
    masks = random.integers(0, 5, (2, 6, 7)).astype("uint8")
    masks[random.uniform(size=masks.shape) < 0.3] = 255
    weights = np.array([1.0, 0.5, 3.0, 0.0, 2.0], "float32")
    found = {"masks": masks, "logits": normal(random, 2, 6, 7, 5, scale=3), "weights": weights}
    for reduction in ("mean", "sum"):
        for smoothing in (0.0, 0.1):
            for weighted in (False, True):
                logits = torch.tensor(found["logits"]).permute(0, 3, 1, 2).requires_grad_()
                loss = torch.nn.CrossEntropyLoss(
                    torch.tensor(weights) if weighted else None,
                    ignore_index=255,
                    reduction=reduction,
                    label_smoothing=smoothing,
                )(logits, torch.tensor(masks.astype("int64")))
                (gradient,) = torch.autograd.grad(loss, logits)
                case = f"{reduction}_{smoothing}_{weighted}"
                found[f"loss_{case}"] = loss.detach().numpy()
                found[f"gradient_{case}"] = gradient.numpy().transpose(0, 2, 3, 1)
    yield "pixel_losses", found


def dilated_pooling(torch, random):
    """The maximum over ``size × size`` units, `dilation` apart."""
    found = {"x": normal(random, 2, 11, 13, 3)}
    for size, dilation in ((2, 2), (3, 4)):
        y = torch.nn.functional.max_pool2d(channels_first(torch, found["x"]), size, stride=1, dilation=dilation)
        found[f"y_{size}_{dilation}"] = y.numpy().transpose(0, 2, 3, 1)
    yield "dilated_pooling", found


def dilated_network(torch, random):
    """A convolution 3×3 (stride 2 without dilation), a pooling (stride 2) and a convolution 2×2, at output stride 1."""
    functional = torch.nn.functional
    found = {
        "x": normal(random, 1, 29, 24, 3),
        **{"first_kernel": normal(random, 4, 3, 3, 3, scale=0.3), "first_bias": normal(random, 4)},
        **{"second_kernel": normal(random, 2, 4, 2, 2, scale=0.3), "second_bias": normal(random, 2)},
    }
    weights = {name: torch.tensor(value) for name, value in found.items()}
    x = torch.relu(functional.conv2d(channels_first(torch, found["x"]), weights["first_kernel"], weights["first_bias"]))
    x = functional.max_pool2d(x, 3, stride=1, dilation=2)
    x = functional.conv2d(x, weights["second_kernel"], weights["second_bias"], dilation=4)
    yield "dilated_network", found | {"y": x.numpy().transpose(0, 2, 3, 1)}


def transposed_convolution(torch, random):
    """Bilinear kernels, channel by channel."""
    found = {"x": normal(random, 2, 5, 3, 3)}
    for factor, size in ((2, 3), (2, 4), (8, 16), (8, 15)):
        line = 1 - abs(np.arange(size) - (size - 1) / 2) / factor
        kernel = np.eye(3)[:, :, None, None] * line[:, None] * line
        y = torch.nn.functional.conv_transpose2d(
            channels_first(torch, found["x"]), torch.tensor(kernel.astype("float32")), stride=factor
        )
        found[f"y_{factor}_{size}"] = y.numpy().transpose(0, 2, 3, 1)
    yield "transposed_convolution", found


def channels_first(torch, x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy())


PARTS = (layerwise, caffe_sgd, pixel_losses, dilated_pooling, dilated_network, transposed_convolution)


def main():
    import torch

    found = {}
    for seed, part in enumerate(PARTS):
        for name, arrays in part(torch, np.random.default_rng(seed)):
            found |= {f"{name}/{key}": value for key, value in arrays.items()}
    np.savez_compressed(STORED, **found)
    print(f"wrote {STORED}, {STORED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
