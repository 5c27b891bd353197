"""Where patients are few: pull a fine-tuned network half way back to ImageNet, and fit its head anew.

A network fine-tuned on a few dozen patients learns their heads and machines too. The mean of its weights and those it started from keeps most of what it
learnt and loses most of that (WiSE-FT, Wortsman 2022, arXiv:2109.01903). The old head no longer fits: a strongly regularised logistic regression on
standardised features takes its place.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data import load, normalise, resize, targets
from network import Network

PENALTY = 3e-4  # C of scikit-learn


def towards(network, program, imagenet, share):
    """The network with `share` of its weights (and batch statistics) from ImageNet."""
    start = Network(program.channels, len(program.labels))
    start.load_imagenet(imagenet)
    old, new = start.state_dict(), network.state_dict()
    network.load_state_dict({key: old[key] * share + value * (1 - share) if value.dtype.is_floating_point and not key.startswith("head") else value
                             for key, value in new.items()})
    return network.eval()


def pooled(network, program, images):
    """Means of the last feature map, [images, channels]."""
    out = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            batch = np.stack([normalise(resize(image, program.size)) for image in images[start:start + 32]])
            out.append(network.features(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)).mean((2, 3)).numpy())
    return np.concatenate(out)


def refit(network, program, data, parts):
    """Replace the head by a logistic regression on these parts; the standardisation is folded into it."""
    rows, images = load(program, data, parts)
    found, label = pooled(network, program, images), targets(program, rows)
    scale = StandardScaler().fit(found)
    found = scale.transform(found)
    with torch.no_grad():
        for index, truth in enumerate(label.T):
            if truth.min() == truth.max():
                # All patients with it are in the fold that is left out: nothing is known of it here.
                network.head.weight[index], network.head.bias[index] = 0, -4
                continue
            fit = LogisticRegression(C=PENALTY, max_iter=1000, class_weight="balanced").fit(found, truth)
            weight = fit.coef_[0] / scale.scale_
            network.head.weight[index] = torch.from_numpy(weight.astype(np.float32))
            network.head.bias[index] = float(fit.intercept_[0] - weight @ scale.mean_)
    return network
