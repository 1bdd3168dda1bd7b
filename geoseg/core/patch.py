"""What flows through a run: patches of pixels, scores of a network, finished rows of labels."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.window import Window

NODATA: Final = 255
"""Label of a pixel the scene does not observe; the only such label that is written to classes.tif."""
OUTSIDE_AOI: Final = 254
"""Label of a pixel outside the area of interest, while labels are in memory."""
MASKED: Final = 253
"""Label of a pixel excluded by a mask (cloud, external mask), while labels are in memory."""
NOT_PROCESSED: Final = 252
"""Label of a pixel that no tile gave a score, while labels are in memory."""
MAX_CLASSES: Final = 200
"""Class ids are 0 … 199; the labels above are kept for what is not a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Pixels of a scene under a window, in the dtype of the scene."""

    window: Window
    """Where the patch lies; may reach beyond the scene's last row or column."""
    pixels: npt.NDArray[Any]
    """(bands, height, width), dtype as stored; 0 where the window reaches beyond the scene."""
    valid: npt.NDArray[np.bool_]
    """(height, width); True = observed and usable. False beyond the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Class probabilities under a window."""

    window: Window
    values: npt.NDArray[np.float32]
    """(classes, height, width), each pixel sums to 1; meaningless where not valid."""
    valid: npt.NDArray[np.bool_]
    """(height, width); True = the pixel was observed and scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Finished rows of a panel: each pixel of the scene leaves exactly once, in row order."""

    window: Window
    values: npt.NDArray[np.float32]
    """(classes, height, width) blended probabilities; meaningless where not valid."""
    valid: npt.NDArray[np.bool_]
    """(height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRows:
    """Finished rows of the map: the class of each pixel and how probable it is."""

    window: Window
    labels: npt.NDArray[np.uint8]
    """(height, width) class ids, or NODATA, OUTSIDE_AOI, MASKED, NOT_PROCESSED."""
    confidence: npt.NDArray[np.uint8]
    """(height, width) 0-100 = round-half-even(100 · probability of the class); 255 where there is no class."""
