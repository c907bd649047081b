"""Networks: two small ones for laptops and ResNet-18 with both stems. Any other nn.Module works as well."""

from functools import partial
from itertools import pairwise

from torch import nn

from . import validate


def mlp(classes=10, shape=(1, 8, 8), hidden=256):
    """Two hidden layers of `hidden` units on the flattened image. `shape` is (channels, height, width)."""
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
    if min(shape[1:]) < 8:
        raise ValueError(f"shape is {tuple(shape)}, but small_cnn halves an image three times: at least 8 × 8 pixels.")
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


def resnet18(classes=10, stem="cifar", shape=(3, 32, 32)):
    """torchvision's ResNet-18, not pretrained.

    stem="imagenet" keeps its 7×7 convolution of stride 2 and its max-pooling, which shrink a 32×32 image to 8×8 before
    the first block. stem="cifar" has a 3×3 convolution of stride 1 and no pooling (He et al. 2016, section 4.2).
    """
    from torchvision.models import resnet18 as build

    validate.choice("stem", stem, ("cifar", "imagenet"))
    net = build(weights=None, num_classes=classes)
    if stem == "cifar":
        net.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif shape[0] != 3:
        net.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    return net


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
    return validate.choice("model", model, _BY_NAME)


def build(model, data):
    """The network for `data`: `model` is a name, an nn.Module (taken as it is) or a function that returns one."""
    if isinstance(model, nn.Module):
        return model
    if callable(model):
        return model()
    return _BY_NAME[check_name(model)](len(data.classes), shape=tuple(data.images.shape[1:]))
