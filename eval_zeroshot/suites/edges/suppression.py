"""Non-maximum suppression of an edge map: Canny's comparison across the edge, with the edge's direction of a ridge.

Canny compares a pixel with its two neighbours along the gradient of the photo. An edge map is highest along the edge itself,
so its own gradient vanishes there and points nowhere; the direction across comes from its second derivatives, as Dollár and
Zitnick's edge detector takes it (arXiv:1406.5549, pdollar/edges, `edgesNms`). The measured difference is in docs/log.md.
"""

import numpy as np
from scipy import ndimage

BLUR_PIXELS = 1.0  # standard deviation; joins the borders of masks that disagree by a pixel
RIDGE_PIXELS = 2.0  # standard deviation at which the direction is taken


def edge_nms(strength: np.ndarray) -> np.ndarray:
    """Blur, bring to [0, 1], and keep what is nowhere exceeded one pixel across the edge, on either side, on a crest.

    The feet of a straight line curve upwards; as nothing there says which way is across, they would stay beside it.

    Args:
        strength: (H, W) float, not negative.

    Returns:
        (H, W) float64, 0 to 1.
    """
    blurred = ndimage.gaussian_filter(np.asarray(strength, np.float64), BLUR_PIXELS)
    blurred = unit_range(blurred)
    down, right = ridge_normal(strength)
    rows, columns = np.indices(blurred.shape)
    sides = [
        ndimage.map_coordinates(blurred, [rows + sign * down, columns + sign * right], order=1, mode="nearest")
        for sign in (1, -1)
    ]
    crest = ndimage.gaussian_laplace(np.asarray(strength, np.float64), BLUR_PIXELS) < 0
    return np.where(crest & (blurred >= np.maximum(*sides)), blurred, 0.0)


def ridge_normal(strength: np.ndarray, *, sigma: float = RIDGE_PIXELS) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors across the ridges of an (H, W) map, (H, W) down and right: where it curves most.

    They are the eigenvectors of the second derivatives, blurred by `sigma` pixels, for the eigenvalue farthest from 0: the
    negative one on a crest, the positive one at its feet.
    """
    strength = np.asarray(strength, np.float64)
    yy, xx, xy = (ndimage.gaussian_filter(strength, sigma, order=order) for order in ((2, 0), (0, 2), (1, 1)))
    angle = np.arctan2(2 * xy, xx - yy) / 2  # of the higher eigenvalue
    angle += np.where(xx + yy < 0, np.pi / 2, 0)
    return np.sin(angle), np.cos(angle)


def unit_range(values: np.ndarray) -> np.ndarray:
    """Values moved and scaled to [0, 1]; all zeros where they are all the same."""
    lowest, highest = float(values.min()), float(values.max())
    return np.zeros_like(values) if highest == lowest else (values - lowest) / (highest - lowest)
