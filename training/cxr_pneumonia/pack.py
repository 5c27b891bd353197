"""Read a pack and answer with it, by its exported files alone."""

import json
import pathlib

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from dataset import normalise

BATCH = 32


class Pack:
    """The graphs and the head of one pack folder."""

    def __init__(self, folder, threads=2):
        self.folder = pathlib.Path(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.backbone, self.fused = (
            onnxruntime.InferenceSession(self.folder / "models" / name, options, providers=["CPUExecutionProvider"])
            for name in ("backbone.onnx", "fused.onnx"))
        self.head = load_file(self.folder / "head.safetensors")

    def manifest(self):
        """The `overread` part of the metadata."""
        return json.loads((self.folder / "configs" / "metadata.json").read_text())["overread"]

    def run(self, images, outputs=("pooled", "embedding")):
        """Backbone outputs for float images [n, 224, 224] in [0, 1], or an iterable of them."""
        parts, batch = [], []
        for image in images:
            batch.append(normalise(image)[None])
            if len(batch) == BATCH:
                parts.append(self.backbone.run(list(outputs), {"image": np.stack(batch)}))
                batch = []
        if batch:
            parts.append(self.backbone.run(list(outputs), {"image": np.stack(batch)}))
        return [np.concatenate(column) for column in zip(*parts)]

    def logit(self, pooled):
        """The head on pooled vectors."""
        return pooled @ self.head["weight"][0] + self.head["bias"][0]

    def ood(self, embedding, residual_variance):
        """How far embeddings lie from the training images."""
        return ood_score(embedding, self.head["ood.mean"], self.head["ood.components"], self.head["ood.variance"], residual_variance)


def ood_score(x, mean, components, variance, residual_variance):
    """Mahalanobis distance under probabilistic PCA, for each dimension."""
    centred = x.astype(np.float64) - mean
    z = centred @ components.T.astype(np.float64)
    inside = (z**2 / variance).sum(1)
    outside = (centred**2).sum(1) - (z**2).sum(1)
    return (inside + outside / residual_variance) / x.shape[1]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))
