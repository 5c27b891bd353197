"""Synthetic haemorrhage drawn into head CT slices that hold none: few patients bleed in the data, and the network should learn density and place, not patients.

Grey values are Hounsfield units through the brain window (0 to 80 HU → 0 to 1): brain lies near 0.45, fresh blood from 0.65 up, bone at 1.
"""

import cv2
import numpy as np

SKULL, LEAST = 0.97, 0.06  # grey value of bone; smallest share of the slice that is called brain


def brain(image):
    """Mask of what lies inside the skull, uint8; none where no closed skull is found."""
    bone = cv2.morphologyEx((image > SKULL).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, tree = cv2.findContours(bone, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None:
        return None
    inner = [o for o, (_, _, _, parent) in zip(outlines, tree[0]) if parent >= 0]
    largest = max(inner, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) < LEAST * image.size:
        return None
    mask = np.zeros(image.shape, np.uint8)
    cv2.drawContours(mask, [largest], -1, 1, cv2.FILLED)
    return mask


def ragged(shape, rng, grain):
    """A smooth random field around 0, with bumps of about `grain` pixels."""
    small = rng.standard_normal((max(2, shape[0] // grain), max(2, shape[1] // grain))).astype(np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def epidural(mask, rng):
    """A lens on the inner table of the skull."""
    outline = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)[:, 0]
    at = int(rng.integers(len(outline)))
    near, far = outline[at], outline[(at + 9) % len(outline)]
    angle = float(np.degrees(np.arctan2(*(far - near)[::-1])))
    side = np.sqrt(mask.sum())
    long, short = rng.uniform(0.06, 0.28) * side, rng.uniform(0.02, 0.11) * side
    lesion = np.zeros(mask.shape, np.uint8)
    cv2.ellipse(lesion, (int(near[0]), int(near[1])), (int(long), max(2, int(short))), angle, 0, 360, 1, cv2.FILLED)
    return lesion


def subdural(mask, rng):
    """A crescent along a part of the skull."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    thick = rng.uniform(0.02, 0.07) * np.sqrt(mask.sum())
    y, x = np.mgrid[0:mask.shape[0], 0:mask.shape[1]]
    centre = np.argwhere(mask).mean(0)
    turn = np.angle(np.exp(1j * (np.arctan2(y - centre[0], x - centre[1]) - rng.uniform(-np.pi, np.pi))))
    half = rng.uniform(0.4, 1.3)
    return ((depth < thick * np.clip(1.2 - np.abs(turn) / half, 0, 1)) & (mask > 0)).astype(np.uint8)


def intraparenchymal(mask, rng):
    """An irregular clot within the brain."""
    side = np.sqrt(mask.sum())
    inside = np.argwhere(cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=max(1, int(side * 0.08))))
    if not len(inside):
        return np.zeros_like(mask)
    centre, radius = inside[rng.integers(len(inside))], rng.uniform(0.03, 0.14) * side
    y, x = np.mgrid[0:mask.shape[0], 0:mask.shape[1]]
    stretch = np.exp(rng.uniform(-0.4, 0.4))
    away = np.hypot((y - centre[0]) * stretch, (x - centre[1]) / stretch) / radius
    return (away + 0.25 * ragged(mask.shape, rng, max(3, int(radius * 0.6))) < 1).astype(np.uint8)


KINDS = {"epidural": epidural, "subdural": subdural, "intraparenchymal": intraparenchymal}


def bleed(image, rng):
    """A slice (uint8 [height, width, 1]) with one haemorrhage, and its kind; none where there is no place for one."""
    grey = image[..., 0].astype(np.float32) / 255
    mask = brain(grey)
    if mask is None:
        return None
    kind = list(KINDS)[rng.integers(len(KINDS))]
    lesion = KINDS[kind](mask, rng) * mask
    if lesion.sum() < 0.004 * mask.sum():
        return None
    edge = cv2.GaussianBlur(lesion.astype(np.float32), (0, 0), rng.uniform(0.7, 2.0)) * mask
    blood = rng.uniform(0.56, 0.88) + 0.05 * ragged(grey.shape, rng, int(rng.integers(4, 16))) + rng.normal(0, 0.03, grey.shape)
    strength = edge * rng.uniform(0.75, 1.0)
    out = np.maximum(grey, 0) * (1 - strength) + blood * strength
    return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None], kind
