"""Embeddings in two dimensions, and a number that says whether what the picture shows is there.

Takes vectors; where they come from (a sentence embedder, an image encoder) is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Projection:
    """Two pictures of the same n vectors and how much variance the two PCA axes keep."""

    pca: np.ndarray  # (n, 2)
    tsne: np.ndarray  # (n, 2)
    explained: float  # share of variance, 0–1


def project(vectors: Any, seed: int = 0, perplexity: float = 30.0) -> Projection:
    """PCA and t-SNE to two dimensions.

    Args:
        vectors: (n, d), n ≥ 5. t-SNE starts from the PCA picture and reads at most 50 principal components.
        perplexity: about how many neighbours t-SNE tries to keep; lowered when n is small.
    """
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = np.asarray(vectors, dtype=np.float64)
    if x.ndim != 2 or len(x) < 5:
        raise ValueError(f"need at least 5 vectors in an (n, d) array, got shape {x.shape}")
    with threadpool_limits(1):  # same picture on any number of cores, and faster than waiting for busy ones
        pca = PCA(n_components=min(50, *x.shape), svd_solver="full")
        components = pca.fit_transform(x)
        tsne = TSNE(2, perplexity=min(perplexity, (len(x) - 1) / 3), init="pca", random_state=seed)
        points = tsne.fit_transform(components.astype(np.float32))
    explained = float(np.nan_to_num(pca.explained_variance_ratio_[:2].sum()))
    return Projection(components[:, :2], points, explained)


def neighbour_agreement(
    vectors: Any, categories: Sequence[str], k: int = 5, draws: int = 999, seed: int = 0
) -> dict[str, float]:
    """Do vectors lie near others of their category? Measured in the full space, not in a picture of it.

    Returns:
        ``observed``: mean share of the k nearest neighbours (cosine) with the same category; ``chance``: the
        same after shuffling the categories, mean of ``draws``; ``p_value`` of that permutation test; ``n``.
    """
    import numpy as np

    x = np.asarray(vectors, dtype=np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    codes = np.unique(np.asarray(categories), return_inverse=True)[1]
    rng = np.random.default_rng(seed)

    def agreement(c: np.ndarray) -> float:
        return float((c[near] == c[:, None]).mean())

    observed = agreement(codes)
    shuffled = [agreement(rng.permutation(codes)) for _ in range(draws)]
    p = (1 + sum(s >= observed for s in shuffled)) / (draws + 1)
    return {"observed": observed, "chance": float(np.mean(shuffled)), "p_value": p, "n": float(len(codes))}
