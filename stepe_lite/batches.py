"""Images on the device: kept as uint8, normalised and augmented a batch at a time."""

import torch
import torch.nn.functional as F


class Images:
    """Images that become network input when they are needed.

    `images` uint8 (n, c, h, w) go to the device once. `Images[index]` is a float32 batch with mean 0 and standard
    deviation 1 a channel, measured on `like` (the training images), so test images are normalised like training ones.
    """

    def __init__(self, images, device, like=None):
        self.pixels = images.to(device)
        if like is None:
            # A histogram of the 256 values gives the exact moments without a float copy of the whole data set.
            counts = torch.stack(
                [torch.bincount(channel.flatten(), minlength=256) for channel in images.transpose(0, 1)]
            )
            share, values = counts.double() / counts.sum(1, keepdim=True), torch.arange(256.0, dtype=torch.float64)
            mean = share @ values
            std = (share @ values**2 - mean**2).clamp(min=0).sqrt()
            std[std < 1e-6] = 1  # a constant channel: divide by 1, not by 0
            self.mean, self.std = (m.float().view(1, -1, 1, 1).to(device) for m in (mean, std))
        else:
            self.mean, self.std = like.mean, like.std

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return (self.pixels[index] - self.mean) / self.std


def flip(batch):
    """Augment a batch (b, c, h, w): mirror half of the images, left to right."""
    mirrored = torch.rand(len(batch), 1, 1, 1, device=batch.device) < 0.5
    return torch.where(mirrored, batch.flip(3), batch)


def crop_and_flip(batch):
    """Augment a batch (b, c, h, w): shift each image by up to h // 8 and w // 8 pixels (mirrored border), flip half."""
    b, _, h, w = batch.shape
    y, x = h // 8, w // 8
    padded = F.pad(batch, (x, x, y, y), mode="reflect")
    down, right = (torch.randint(0, 2 * pad + 1, (b, 1), device=batch.device) for pad in (y, x))
    rows = down + torch.arange(h, device=batch.device)
    columns = right + torch.arange(w, device=batch.device)
    each = torch.arange(b, device=batch.device).view(b, 1, 1)
    return flip(padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2))


AUGMENTATIONS = {False: lambda batch: batch, "flip": flip, True: crop_and_flip}
