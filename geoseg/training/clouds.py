"""Clouds that were labelled as land are taken out of the labels."""

import numpy as np
from scipy import ndimage

from geoseg.core.patch_source import IGNORE, LabelledImage
from geoseg.training.config import CloudRule


def ignore_clouds(image: LabelledImage, *, rule: CloudRule) -> LabelledImage:
    """The image with labels 255 where the rule finds cloud; unchanged when the rule does not name it.

    A cloud is a group of bright grey pixels of the label the rule names, without single pixels (roofs, roads),
    grown by a few pixels of the same label to take in its thin edge.
    """
    if image.name not in rule.images:
        return image
    first, last = image.pixels[0].astype(np.float32), image.pixels[-1].astype(np.float32)
    suspect = image.labels == rule.label
    bright = suspect & (last >= rule.blue_at_least) & (first <= rule.red_over_blue_at_most * last)
    cloud = ndimage.binary_opening(bright)
    if rule.grow_px:
        cloud = ndimage.binary_dilation(cloud, iterations=rule.grow_px) & suspect
    return LabelledImage(name=image.name, pixels=image.pixels, labels=np.where(cloud, IGNORE, image.labels))
