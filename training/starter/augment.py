"""Random changes of an image, so that camera, codec, scale, markers and borders carry no label.

Images are float32 [height, width, channels] in [0, 1]; every function takes the generator and returns a new image.
"""

import cv2
import numpy as np

cv2.setNumThreads(0)


def geometry(image, size, rng, program):
    """Rotation, scale, aspect, shift and mirrors in one resampling, with a random kind of border."""
    high, wide = image.shape[:2]
    angle = np.deg2rad(rng.uniform(-program.turn, program.turn))
    scale, aspect = np.exp(rng.uniform(*np.log(program.zoom))), np.exp(rng.uniform(-0.1, 0.1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flips = [-1 if allowed and rng.random() < 0.5 else 1 for allowed in program.mirror]
    # Turned about the centre in units of the picture's height, then stretched to the network's size.
    matrix = np.diag([size[0] / wide, size[1] / high]) @ turn @ np.diag([flips[0] * scale * aspect, flips[1] * scale / aspect])
    shift = np.array(size) / 2 - matrix @ (np.array([wide, high]) / 2) + rng.uniform(-0.06, 0.06, 2) * size
    border = (cv2.BORDER_CONSTANT, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101)[rng.integers(3)]
    how = (cv2.INTER_LINEAR, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
    image = cv2.warpAffine(image, np.column_stack([matrix, shift]), size, flags=how, borderMode=border)
    return image.reshape(size[1], size[0], -1)


def exposure(image, rng, strength=1.0):
    """Gamma, contrast and brightness."""
    image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.uniform(-0.4, 0.4) * strength))
    middle = np.float32(rng.uniform(0.3, 0.7))
    return (image - middle) * np.float32(np.exp(rng.uniform(-0.35, 0.3) * strength)) + middle + np.float32(rng.uniform(-0.1, 0.1) * strength)


def colour(image, rng, strength):
    """Gain of each channel, saturation, and a small turn of the hue."""
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * np.float32(np.exp(rng.uniform(-0.6, 0.4) * strength))
    image = image * np.exp(rng.uniform(-0.25, 0.25, 3) * strength).astype(np.float32)
    mix = np.eye(3) + rng.uniform(-0.12, 0.12, (3, 3)) * strength
    return image @ (mix / mix.sum(1, keepdims=True)).T.astype(np.float32)


def stain(image, rng, strength):
    """Mean and spread of L*, a*, b* moved, as between laboratories (Reinhard 2001)."""
    lab = cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2Lab)
    mean = lab.mean((0, 1))
    spread = np.exp(rng.uniform(-0.3, 0.3, 3) * strength).astype(np.float32)
    move = (rng.uniform(-1, 1, 3) * (12, 10, 10) * strength).astype(np.float32)
    return cv2.cvtColor((lab - mean) * spread + mean + move, cv2.COLOR_Lab2RGB)


def soften(image, rng):
    """Blur, sharpening, or a smaller size and back."""
    kind, shape = rng.integers(3), image.shape
    if kind == 0:
        small = int(rng.uniform(0.45, 0.95) * shape[1]), int(rng.uniform(0.45, 0.95) * shape[0])
        out = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), shape[1::-1], interpolation=cv2.INTER_LINEAR)
    else:
        blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)).reshape(shape)
        out = blurred if kind == 1 else image + (image - blurred) * np.float32(rng.uniform(0.3, 1.2))
    return out.reshape(shape)


def recompress(image, rng):
    """JPEG or WebP at a random quality."""
    eight = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    kind, key = ((".jpg", cv2.IMWRITE_JPEG_QUALITY), (".webp", cv2.IMWRITE_WEBP_QUALITY))[rng.integers(2)]
    _, coded = cv2.imencode(kind, eight[..., ::-1], [key, int(rng.integers(40, 96))])
    out = cv2.imdecode(coded, cv2.IMREAD_COLOR if image.shape[2] == 3 else cv2.IMREAD_GRAYSCALE)
    return out.reshape(image.shape)[..., ::-1].astype(np.float32) / 255


def noise(image, rng):
    """Grain of random strength."""
    return image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.005, 0.035))


def shade(image, rng):
    """What a blanked region is filled with."""
    return (0.0, image.mean((0, 1)), rng.random())[rng.integers(3)]


def marks(image, rng):
    """Blank margins or corners and draw letters or a ruler."""
    image = np.ascontiguousarray(image).copy()
    high, wide = image.shape[:2]
    if rng.random() < 0.5:
        top, bottom, left, right = (rng.uniform(0, 0.1, 4) * (rng.random(4) < 0.6) * high).astype(int)
        value = shade(image, rng)
        image[:top], image[high - bottom:], image[:, :left], image[:, wide - right:] = value, value, value, value
    for _ in range(rng.integers(0, 3)):
        w, h = rng.integers(8, wide // 6, 2)
        x, y = rng.integers(0, 2) * (wide - w), rng.integers(0, 2) * (high - h)
        image[y:y + h, x:x + w] = shade(image, rng)
    if rng.random() < 0.5:
        place = (int(rng.uniform(0, 0.9) * wide), int(rng.choice([rng.uniform(0.05, 0.2), rng.uniform(0.85, 0.98)]) * high))
        drawn = np.zeros((high, wide), np.uint8)
        cv2.putText(drawn, ("R", "L", "A-P", "12:04", "|||||||", "S3")[rng.integers(6)], place, int(rng.choice([0, 2, 3])),
                    rng.uniform(0.3, 0.7), 255, int(rng.integers(1, 3)), cv2.LINE_AA)
        image = np.maximum(image, drawn[..., None] * np.float32(rng.uniform(0.7, 1) / 255))
    return image.reshape(high, wide, -1)


def erase(image, rng):
    """A random box, so that no single place decides."""
    image, (high, wide) = image.copy(), image.shape[:2]
    h, w = (np.sqrt(rng.uniform(0.01, 0.07)) * high * np.exp(np.array([1, -1]) * rng.uniform(-0.5, 0.5))).astype(int)
    y, x = rng.integers(0, high - h), rng.integers(0, wide - w)
    image[y:y + h, x:x + w] = shade(image, rng)
    return image


def augment(image, size, rng, program):
    """One training image from a full one."""
    image = geometry(image.astype(np.float32) / 255, size, rng, program)
    steps = [(lambda x, r: exposure(x, r, program.exposure), 0.7), (soften, 0.3), (noise, 0.2), (recompress, 0.25), (erase, 0.2)]
    if program.colour and image.shape[2] == 3:
        steps.insert(0, (lambda x, r: colour(x, r, program.colour), 0.7))
    if program.stain:
        steps.insert(0, (lambda x, r: stain(x, r, program.stain), 0.7))
    if program.marks:
        steps.append((marks, 0.3))
    for step, chance in steps:
        if rng.random() < chance:
            image = step(image, rng)
    return np.clip(image, 0, 1).astype(np.float32)


def gentle(image, rng):
    """The same picture as another device or codec would have it, at its own size."""
    for step, chance in ((exposure, 0.3), (soften, 0.5), (noise, 0.2), (recompress, 0.5)):
        if rng.random() < chance:
            image = np.clip(step(image, rng), 0, 1).astype(np.float32)
    return image
