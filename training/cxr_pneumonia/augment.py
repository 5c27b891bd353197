"""Random changes of one grey image, so that exposure, codec, scale, markers and borders carry no label.

Images are float32 [224, 224] in [0, 1]; every function takes the generator and returns a new
image of the same kind.
"""

import cv2
import numpy as np

cv2.setNumThreads(0)
RESAMPLERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def geometry(image, rng):
    """Rotation, scale, aspect, shear, shift and mirror, with a random kind of border."""
    size = image.shape[0]
    angle = np.deg2rad(rng.uniform(-12, 12))
    scale = np.exp(rng.uniform(np.log(0.82), np.log(1.22)))
    aspect = np.exp(rng.uniform(-0.14, 0.14))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, rng.uniform(-0.08, 0.08)], [0, 1]]) @ np.diag([scale * aspect, scale / aspect])
    if rng.random() < 0.5:
        matrix = matrix @ np.diag([-1, 1])
    centre = np.array([size, size]) / 2 - 0.5
    shift = centre - matrix @ centre + rng.uniform(-0.07, 0.07, 2) * size
    border = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)[rng.integers(3)]
    fill = 0.0 if rng.random() < 0.6 else float(rng.random())
    return cv2.warpAffine(image, np.column_stack([matrix, shift]), (size, size), flags=cv2.INTER_LINEAR,
                          borderMode=border, borderValue=fill)


def resample(image, rng):
    """Down to a smaller size and up again, with two random filters."""
    size, small = image.shape[0], int(rng.integers(96, 224))
    small = cv2.resize(image, (small, small), interpolation=RESAMPLERS[rng.integers(1, 5)])
    return cv2.resize(small, (size, size), interpolation=RESAMPLERS[rng.integers(1, 5)])


def exposure(image, rng):
    """Gamma, contrast and brightness."""
    image = np.clip(image, 0, 1) ** np.exp(rng.uniform(-0.55, 0.55))
    middle = rng.uniform(0.3, 0.7)
    return ((image - middle) * np.exp(rng.uniform(-0.5, 0.4)) + middle + rng.uniform(-0.15, 0.15)).astype(np.float32)


def local_exposure(image, rng):
    """A smooth field of gain, like a badly placed grid or a heel effect."""
    field = rng.uniform(-0.35, 0.35, (int(rng.integers(2, 5)),) * 2).astype(np.float32)
    field = cv2.resize(field, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return image * np.exp(field)


def histogram(image, rng):
    """A random rising curve, a percentile window, or part of an equalisation."""
    kind = rng.integers(3)
    if kind == 0:
        knots = np.concatenate([[0], np.cumsum(rng.uniform(0.2, 1, 6))])
        curve = (knots / knots[-1]).astype(np.float32)
        return np.interp(np.clip(image, 0, 1), np.linspace(0, 1, 7), curve).astype(np.float32)
    if kind == 1:
        low, high = np.percentile(image, [rng.uniform(0, 5), rng.uniform(95, 100)])
        return (image - low) / max(high - low, 0.1)
    eight = np.clip(image * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        equal = cv2.equalizeHist(eight)
    else:
        equal = cv2.createCLAHE(rng.uniform(1, 3), (int(rng.integers(2, 9)),) * 2).apply(eight)
    share = rng.uniform(0.3, 1)
    return image * (1 - share) + equal.astype(np.float32) * (share / 255)


def recompress(image, rng):
    """JPEG or WebP at a random quality."""
    eight = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, coded = cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
    else:
        _, coded = cv2.imencode(".webp", eight, [cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(30, 96))])
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


def sharpness(image, rng):
    """Blur, or an unsharp mask."""
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    return blurred if rng.random() < 0.5 else image + (image - blurred) * rng.uniform(0.3, 1.5)


def noise(image, rng):
    """Grain of random strength and grain size."""
    size, grain = image.shape[0], int(rng.integers(1, 3))
    field = rng.standard_normal((size // grain, size // grain), dtype=np.float32) * rng.uniform(0.005, 0.05)
    return image + cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)


def shade(image, rng):
    """What a blanked region is filled with."""
    return (0.0, float(image.mean()), float(rng.random()))[rng.integers(3)]


def frame(image, rng):
    """Blank margins, like collimation or a cropped print."""
    image, size, value = image.copy(), image.shape[0], shade(image, rng)
    top, bottom, left, right = (rng.uniform(0, 0.12, 4) * (rng.random(4) < 0.6) * size).astype(int)
    image[:top], image[size - bottom:] = value, value
    image[:, :left], image[:, size - right:] = value, value
    return image


def markers(image, rng):
    """Blank corners and draw letters, so that side markers say nothing."""
    image, size = image.copy(), image.shape[0]
    for _ in range(rng.integers(1, 4)):
        wide, high = rng.integers(12, 46, 2)
        x, y = rng.integers(0, 2) * (size - wide), rng.integers(0, 2) * (size - high)
        image[y:y + high, x:x + wide] = shade(image, rng)
    if rng.random() < 0.6:
        text = ("R", "L", "A-P", "AP", "PA", "PORT", "12:04")[rng.integers(7)]
        place = (int(rng.uniform(0, 0.9) * size), int(rng.choice([rng.uniform(0.05, 0.25), rng.uniform(0.85, 0.98)]) * size))
        cv2.putText(image, text, place, int(rng.choice([0, 2, 3, 6])), rng.uniform(0.3, 0.9),
                    float(rng.uniform(0.7, 1)), int(rng.integers(1, 3)), cv2.LINE_AA)
    return image


def erase(image, rng):
    """Random boxes, so that no single place decides."""
    image, size = image.copy(), image.shape[0]
    for _ in range(rng.integers(1, 3)):
        high, wide = (np.sqrt(rng.uniform(0.01, 0.08)) * size * np.exp(np.array([1, -1]) * rng.uniform(-0.5, 0.5))).astype(int)
        y, x = rng.integers(0, size - high), rng.integers(0, size - wide)
        image[y:y + high, x:x + wide] = shade(image, rng)
    return image


STEPS = ((geometry, 0.95), (frame, 0.25), (markers, 0.35), (exposure, 0.8), (local_exposure, 0.35), (histogram, 0.35),
         (sharpness, 0.3), (resample, 0.35), (noise, 0.3), (recompress, 0.35), (erase, 0.3))
GENTLE = ((exposure, 0.4), (sharpness, 0.2), (resample, 0.6), (noise, 0.2), (recompress, 0.6))


def augment(image, rng, steps=STEPS):
    """One training image from another."""
    for step, chance in steps:
        if rng.random() < chance:
            image = step(image, rng)
    return np.clip(image, 0, 1).astype(np.float32)
