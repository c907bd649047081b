"""Networks: two small ones for laptops and ResNet-18 with both stems. Any other nn.Module works as well."""

import inspect
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from .utils import BadInput, check_choice, check_whole


def mlp(classes=10, shape=(1, 8, 8), hidden=256):
    """Two hidden layers of `hidden` units on the flattened image. `shape` is (channels, height, width)."""
    _check_sizes(classes, shape, hidden=hidden)
    pixels = shape[0] * shape[1] * shape[2]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def small_cnn(classes=10, shape=(3, 32, 32), width=32):
    """Three convolution blocks (width, 2 · width, 4 · width channels), each halving the image, and a hidden layer.

    The hidden layer sees every position, up to 4 × 4, so the network can learn single images by heart, wrong labels
    included. With the average over all positions instead it hardly does: after 20 epochs of standard training on
    10,000 images of CIFAR-10N worse its training loss was 1.23, with the hidden layer 0.01.
    """
    _check_sizes(classes, shape, width=width)
    if min(shape[1:]) < 8:
        raise BadInput(f"shape is {tuple(shape)}, but small_cnn halves an image three times: at least 8 × 8 pixels.")
    channels, positions = [shape[0], width, 2 * width, 4 * width], [min(4, side // 8) for side in shape[1:]]
    layers = [
        layer
        for before, after in pairwise(channels)
        for layer in (
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
    ]
    if max(shape[1:]) >= 40:
        layers.append(nn.AdaptiveAvgPool2d(positions))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels[-1] * positions[0] * positions[1], 8 * width, bias=False),
        nn.BatchNorm1d(8 * width),
        nn.ReLU(),
        nn.Linear(8 * width, classes),
    )


class WindowConv2d(nn.Conv2d):
    """nn.Conv2d (square kernel, no bias), which multiplies no padding where its output is 2 × 2 or 1 × 1 on a CPU.

    Behind the ImageNet stem a 32×32 image is down to 2×2 and 1×1 in the last two stages of ResNet-18. There a 3×3
    kernel meets padding with up to eight of its nine weights, and the library's weight gradients are slowest: with them
    three quarters of a training step went into two per cent of its useful multiplications. Here every output is one
    matrix product of what its window sees, the same sum in another order.
    """

    def forward(self, x):
        (size, _), (stride, _), (padding, _) = self.kernel_size, self.stride, self.padding
        # For each output position, the slice of the kernel that lies on the image and the slice of the image under it.
        rows, columns = (
            [
                (slice(max(0, -start), min(size, side - start)), slice(max(0, start), min(side, start + size)))
                for start in range(-padding, side + padding - size + 1, stride)
            ]
            for side in x.shape[2:]
        )
        if len(rows) * len(columns) > 4 or x.device.type != "cpu":
            return super().forward(x)
        kernel, image = self.weight.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)  # as channels_last memory lies
        outputs = [
            F.linear(image[:, under, beneath].flatten(1), kernel[:, top, left].flatten(1))
            for top, under in rows
            for left, beneath in columns
        ]
        return torch.stack(outputs, 1).unflatten(1, (len(rows), len(columns))).permute(0, 3, 1, 2)


def resnet18(classes=10, stem="cifar", shape=(3, 32, 32)):
    """torchvision's ResNet-18, not pretrained.

    stem="imagenet" keeps its 7×7 convolution of stride 2 and its max-pooling, which shrink a 32×32 image to 8×8 before
    the first block. stem="cifar" has a 3×3 convolution of stride 1 and no pooling (He et al. 2016, section 4.2).
    """
    from torchvision.models import resnet18 as build

    check_choice("stem", stem, ("cifar", "imagenet"))
    _check_sizes(classes, shape)
    net = build(weights=None, num_classes=classes)
    if stem == "cifar":
        net.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif shape[0] != 3:
        net.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.__class__ = WindowConv2d  # the same weights under the same names, another way to multiply
    return net


def _check_sizes(classes, shape, **others):
    if not isinstance(shape, tuple | list | torch.Size) or len(shape) != 3:
        raise BadInput(f"shape is {shape!r}, but must be (channels, height, width).")
    sizes = {"classes": classes, **{f"shape[{at}]": side for at, side in enumerate(shape)}, **others}
    for name, size in sizes.items():
        check_whole(name, size, least=1)


_BY_NAME = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "resnet18": resnet18,
    "resnet18-imagenet": partial(resnet18, stem="imagenet"),
}


def names():
    """The names that `build` and `fit` take."""
    return tuple(_BY_NAME)


def check_name(model):
    """Raise ValueError unless `model` is one of `names()`; offer the closest."""
    return check_choice("model", model, _BY_NAME)


def build(model, data):
    """The network for `data`: `model` is a name, an nn.Module (taken as it is) or a function that returns one."""
    if callable(model) and not isinstance(model, nn.Module):
        try:
            inspect.signature(model).bind()
        except TypeError as error:
            raise BadInput(f"model is {model!r}, but must be a function without arguments: {error}.") from None
        except ValueError:  # one that does not say what it takes
            pass
        model = model()
        if not isinstance(model, nn.Module):
            raise BadInput(f"model returns {model!r}, but must return an nn.Module.")
    if isinstance(model, nn.Module):
        if any(nn.parameter.is_lazy(p) or p.is_meta for p in (*model.parameters(), *model.buffers())):
            raise BadInput("model has weights without values, lazy or on the device meta: give them values first.")
        return model
    return _BY_NAME[check_name(model)](len(data.classes), shape=tuple(data.images.shape[1:]))
