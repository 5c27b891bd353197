"""The out-of-distribution model: probabilistic PCA by its closed form (Tipping and Bishop 1999, eq. 7 and 8)."""

import numpy as np


def fit_ood(embedding, components):
    """Mean, components, their variances, and the variance of what they leave."""
    mean = embedding.mean(0)
    _, singular, rows = np.linalg.svd(embedding - mean, full_matrices=False)
    variance = singular**2 / (len(embedding) - 1)
    return mean, rows[:components], variance[:components], float(variance[components:].sum() / (embedding.shape[1] - components))


def ood_score(x, mean, components, variance, residual_variance):
    """Mahalanobis distance under the model, for each dimension."""
    centred = x.astype(np.float64) - mean
    z = centred @ components.T.astype(np.float64)
    return ((z**2 / variance).sum(1) + ((centred**2).sum(1) - (z**2).sum(1)) / residual_variance) / x.shape[1]
