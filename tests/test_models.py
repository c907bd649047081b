"""Networks and their input: sizes that fit, normalised pixels, shifted and flipped copies."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from stepe_lite import Dataset, models
from stepe_lite.learner import Images, crop_and_flip, flip


def random_pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def random_data(shape, k=3):
    return Dataset.from_arrays(random_pixels(2 * k, *shape), torch.arange(2 * k) % k)


# Networks


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 20, 12)], ids=str)
@pytest.mark.parametrize("name", models.names())
def test_every_model_fits_the_images_and_the_classes(name, shape):
    data = random_data(shape)
    out = models.build(name, data)(data.images / 255)
    assert out.shape == (6, 3)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(("stem", "before", "after"), [("cifar", 32, 4), ("imagenet", 8, 1)])
def test_the_stem_decides_how_large_the_feature_maps_are(stem, before, after):
    net, sizes = models.resnet18(10, stem=stem), []
    net.layer1.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape)))
    net.layer4.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape)))
    net(torch.rand(2, 3, 32, 32))
    assert sizes == [(2, 64, before, before), (2, 512, after, after)]


@pytest.mark.parametrize("sides", [(1, 1), (1, 2), (2, 2), (3, 4), (4, 4), (8, 8), (5, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels_last"])
def test_a_window_convolution_is_a_convolution(sides, stride, layout):
    torch.manual_seed(0)
    ours = models.WindowConv2d(3, 5, 3, stride=stride, padding=1, bias=False).double().to(memory_format=layout)
    image = torch.rand(4, 3, *sides, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    out, expected = ours(image), F.conv2d(image, ours.weight, stride=stride, padding=1)
    assert out.shape == expected.shape
    to = torch.rand_like(expected)
    for mine, library in zip(
        (out, *torch.autograd.grad((out * to).sum(), (image, ours.weight))),
        (expected, *torch.autograd.grad((expected * to).sum(), (image, ours.weight))),
        strict=True,
    ):
        assert torch.allclose(mine, library, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [32, 64])
def test_our_resnet18_computes_what_torchvisions_does(side):
    torch.manual_seed(0)
    ours, theirs = models.resnet18(10, stem="imagenet"), torchvision.models.resnet18(num_classes=10)
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(8, 3, side, side)
    assert torch.allclose(ours(images), theirs(images), atol=1e-4)
    for mine, library in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.shape == library.shape


def test_flipping_mirrors_half_of_the_images():
    torch.manual_seed(0)
    images = torch.rand(1_000, 1, 2, 3)
    flipped = flip(images)
    mirrored = (flipped == images.flip(3)).all((1, 2, 3))
    assert (mirrored | (flipped == images).all((1, 2, 3))).all()
    assert 400 < mirrored.sum() < 600


def test_the_same_seed_gives_the_same_initial_weights():
    def initial(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(models.mlp().parameters())

    assert torch.equal(initial(0), initial(0))
    assert not torch.equal(initial(0), initial(1))


def test_a_network_of_your_own_is_taken_as_it_is():
    net = nn.Flatten()
    assert models.build(net, None) is net
    assert models.build(lambda: net, None) is net


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.build("resnet", random_data((1, 8, 8))), "model is 'resnet', but must be one of 'mlp'"),
        (lambda: models.check_name("smallcnn"), "Did you mean 'small_cnn'"),
        (lambda: models.resnet18(stem="imagnet"), "stem is 'imagnet'.*Did you mean 'imagenet'"),
        (lambda: models.small_cnn(shape=(1, 7, 28)), r"shape is \(1, 7, 28\).*at least 8 × 8 pixels"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Pixels


def test_training_images_get_mean_0_and_deviation_1_in_every_channel():
    dark = random_pixels(50, 1, 8, 8) // 4
    pixels = torch.cat([dark, random_pixels(50, 1, 8, 8, seed=1)], dim=1)
    images = Images(pixels, "cpu")[torch.arange(50)]
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_test_images_are_normalised_like_the_training_images():
    train = Images(random_pixels(50, 1, 8, 8), "cpu")
    darker = Images(random_pixels(50, 1, 8, 8) // 2, "cpu", like=train)
    assert torch.equal(darker.mean, train.mean) and torch.equal(darker.std, train.std)
    assert darker[torch.arange(50)].mean() < -0.5


def test_a_constant_channel_becomes_0():
    images = Images(torch.full((5, 1, 8, 8), 77, dtype=torch.uint8), "cpu")
    assert len(images) == 5
    assert images[torch.arange(5)].abs().max() < 1e-5


# Augmentation


def variants(image):
    """Every result that `crop_and_flip` may have for `image` (c, h, w): shifted by up to h // 8, flipped or not."""
    _, h, w = image.shape
    pad = max(1, h // 8)
    padded = F.pad(image[None], (pad, pad, pad, pad), mode="reflect")[0]
    shifts = [(down, right) for down in range(2 * pad + 1) for right in range(2 * pad + 1)]
    crops = [padded[:, down : down + h, right : right + w] for down, right in shifts]
    return torch.stack(crops + [crop.flip(2) for crop in crops])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 16, 9)], ids=str)
def test_every_augmented_image_is_a_shifted_or_flipped_copy(shape):
    torch.manual_seed(0)
    batch = torch.rand(20, *shape)
    before = batch.clone()
    augmented = crop_and_flip(batch)
    assert augmented.shape == batch.shape
    assert torch.equal(batch, before)
    for image, result in zip(batch, augmented):
        assert (variants(image) == result).all((1, 2, 3)).sum() == 1


def test_every_shift_and_flip_comes_up():
    torch.manual_seed(0)
    image = torch.rand(1, 8, 8)
    results = crop_and_flip(image.expand(2000, 1, 8, 8))
    times = [(results == variant).all((1, 2, 3)).sum().item() for variant in variants(image)]
    assert len(times) == 18
    assert sum(times) == 2000
    assert min(times) > 2000 / 18 / 2
