"""The equations of arXiv 2312.10310 and the graph operations, in dense float64 NumPy with plain loops.

Nothing here comes from the package: weights arrive as arrays, named as in the state dictionaries of the networks.
"""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """- sum_c target_c log softmax(logits)_c of each row."""
    return np.array(
        [
            -np.sum(t * (row - row.max() - np.log(np.sum(np.exp(row - row.max())))))
            for row, t in zip(logits, target, strict=True)
        ]
    )


def mlp(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    inner = np.maximum(x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"], 0)
    return inner @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


# --- data preparation -------------------------------------------------------------------------------------------------


def normalize(x: np.ndarray, s: float) -> np.ndarray:
    out = np.zeros(x.shape)
    for i, row in enumerate(x.astype(np.float64)):
        for j, value in enumerate(row):
            out[i, j] = np.log(1 + s * value / row.sum())
    return out


def top_variance_genes(x: np.ndarray, n_top: int) -> list[int]:
    variance = x.astype(np.float64).var(0)
    expressed = [j for j in range(x.shape[1]) if x[:, j].any()]
    return sorted(sorted(expressed, key=lambda j: (-variance[j], j))[:n_top])


def top_label_genes(x: np.ndarray, y: np.ndarray, n_top: int) -> list[int]:
    """Labels take turns: each names its gene of largest Welch t that is not yet chosen."""
    x = x[y >= 0].astype(np.float64)
    y = y[y >= 0]
    spread = x.var(0)
    rankings = []
    for label in np.unique(y):
        own, other = x[y == label], x[y != label]
        parts = [(len(part) * part.var(0) + spread) / (len(part) + 1) / len(part) for part in (own, other)]
        error = np.sqrt(sum(parts))
        t = np.where(error > 0, np.abs(own.mean(0) - other.mean(0)) / np.where(error > 0, error, 1), 0)
        rankings.append([j for j in np.argsort(-t, kind="stable") if x[:, j].any()])
    chosen: list[int] = []
    for place in range(len(rankings[0])):
        for ranking in rankings:
            if ranking[place] not in chosen and len(chosen) < n_top:
                chosen.append(ranking[place])
    return sorted(chosen)


# --- gene-level network -----------------------------------------------------------------------------------------------


def tokens(w: dict[str, np.ndarray], genes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Eq. 3."""
    return np.stack(
        [w["embedding.gene"][j] + mlp(w, "embedding.count", np.array([v])) for j, v in zip(genes, values, strict=True)]
    )


def gram_attention(
    w: dict[str, np.ndarray], name: str, f: np.ndarray, n_heads: int, *, scaled: bool = False, residual: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Eq. 4, head by head; returns F' and R of every head."""
    w_g = w[f"{name}.w_g.weight"].T  # d_in x d
    d_head = w_g.shape[1] // n_heads
    outputs, matrices = [], []
    for head in range(n_heads):
        p = f @ w_g[:, head * d_head : (head + 1) * d_head]
        r = softmax(p @ p.T / (np.sqrt(d_head) if scaled else 1))
        w1, b1, w2, b2 = (w[f"{name}.mlp_g.{part}"][head] for part in ("w1", "b1", "w2", "b2"))
        outputs.append(np.maximum(r @ p @ w1 + b1, 0) @ w2 + b2)
        matrices.append(r)
    out = np.concatenate(outputs, axis=1)
    if residual and f.shape == out.shape:
        out = f + out
    if f"{name}.norm.weight" in w:
        out = (out - out.mean(1, keepdims=True)) / np.sqrt(out.var(1, keepdims=True) + 1e-5)
        out = out * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]
    return out, matrices


def gene_network(
    w: dict[str, np.ndarray],
    x: np.ndarray,
    n_heads: int,
    *,
    alpha: np.ndarray | None,
    scaled: bool = False,
    residual: bool = False,
) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """h of one cell with expression x (T,), and R of every layer and head; alpha None: the mean read-out."""
    genes = np.flatnonzero(x)
    f = tokens(w, genes, x[genes])
    matrices, layer = [], 0
    while f"layers.{layer}.w_g.weight" in w:
        f, r = gram_attention(w, f"layers.{layer}", f, n_heads, scaled=scaled, residual=residual)
        matrices.append(r)
        layer += 1
    weights = np.full(len(genes), 1 / len(genes)) if alpha is None else alpha[genes]
    return sum(a * row for a, row in zip(weights, f, strict=True)), matrices  # Eq. 5


def embeddings(w: dict[str, np.ndarray], x: np.ndarray, n_heads: int, width: int, **options: object) -> np.ndarray:
    """h of every cell; 0 for a cell without expressed genes."""
    h = np.zeros((len(x), width))
    for i, row in enumerate(x):
        if row.any():
            h[i], _ = gene_network(w, row, n_heads, **options)
    return h


def mean_attention(per_cell: list[tuple[np.ndarray, list[list[np.ndarray]]]], n_genes: int, min_count: int):
    """A~ from the genes and matrices of every cell."""
    total, matrices, cells = (np.zeros((n_genes, n_genes)) for _ in range(3))
    for genes, layers in per_cell:
        for a, i in enumerate(genes):
            for b, j in enumerate(genes):
                cells[i, j] += 1
                for heads in layers:
                    for r in heads:
                        total[i, j] += r[a, b]
                        matrices[i, j] += 1
    mean = np.zeros((n_genes, n_genes))
    for i, j in np.ndindex(mean.shape):
        if cells[i, j] >= max(1, min_count):
            mean[i, j] = total[i, j] / matrices[i, j]
    return mean


# --- cell-level network -----------------------------------------------------------------------------------------------


def mean_matrix(adjacency: np.ndarray) -> np.ndarray:
    """D^-1 A; a row without neighbours stays 0."""
    out = np.zeros(adjacency.shape)
    for i, row in enumerate(adjacency):
        neighbors = np.flatnonzero(row)
        if len(neighbors):
            out[i, neighbors] = 1 / len(neighbors)
    return out


def correction(w: dict[str, np.ndarray], name: str, x: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """A linear layer beside an anchor's decisions times a learned scale."""
    return w[f"{name}.scale"] * decisions + x @ w[f"{name}.linear.weight"].T + w[f"{name}.linear.bias"]


def batch_norm(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """Batch norm as it acts after training."""
    deviation = np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return (x - w[f"{name}.running_mean"]) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def cell_network(
    w: dict[str, np.ndarray],
    x: np.ndarray,
    h: np.ndarray,
    mean: np.ndarray,
    *,
    features: np.ndarray | None = None,
    shown: np.ndarray | None = None,
    decisions: np.ndarray | None = None,
) -> np.ndarray:
    """Eqs. 7 and 8, jumping knowledge, classifier: logits. `features` and `shown` labels are ours, as `decisions`."""
    if features is None:
        inner = np.maximum(x @ w["gene_input.inner.weight"].T + w["gene_input.inner.bias"], 0)
        z = np.concatenate([h, inner @ w["gene_input.outer.weight"].T + w["gene_input.outer.bias"]], axis=1)
        if shown is not None:
            z = z + shown @ w["known_input.weight"].T
    else:
        z = features if shown is None else np.concatenate([features, shown], axis=1)
        z = z @ w["feature_input.0.weight"].T + w["feature_input.0.bias"]
        z = np.maximum(batch_norm(w, "feature_input.1", z), 0)
    states, layer = [z], 0
    while f"layers.{layer}.w_c.weight" in w:
        z = mean @ z @ w[f"layers.{layer}.w_c.weight"].T
        name = f"layers.{layer}.mlp_c"
        z = np.maximum(batch_norm(w, f"{name}.0", z), 0) if f"{name}.0.running_var" in w else mlp(w, name, z)
        states.append(z)
        layer += 1
    states = np.concatenate(states, axis=1)
    return mlp(w, "classifier", states) if decisions is None else correction(w, "classifier", states, decisions)


# --- graphs -----------------------------------------------------------------------------------------------------------


def distances(points: np.ndarray) -> np.ndarray:
    """Euclidean distances, infinite on the diagonal."""
    points = points.astype(np.float64)
    out = np.array([np.sqrt(np.square(points - point).sum(1)) for point in points])
    np.fill_diagonal(out, np.inf)
    return out


def neighbors(points: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k nearest other points, nearest first, ties by index."""
    return np.argsort(distances(points), axis=1, kind="stable")[:, :k]


def adjacency(indices: np.ndarray) -> np.ndarray:
    out = np.zeros((len(indices), len(indices)))
    for i, row in enumerate(indices):
        out[i, row] = 1
    return out


def homophily(edges: list[tuple[int, int]], labels: np.ndarray, source_label: int | None = None) -> float:
    """Share of edges within a label among those with a label at both ends, of all sources or those of one label."""
    known = [(i, j) for i, j in edges if labels[i] >= 0 and labels[j] >= 0]
    known = [(i, j) for i, j in known if source_label is None or labels[i] == source_label]
    return sum(labels[i] == labels[j] for i, j in known) / len(known) if known else np.nan


def fuzzy_union(indices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """UMAP's weights: exp(-(d - rho) / sigma) with sum log2(k + 1) in each row, then a + b - a b with the transpose."""
    n, k = indices.shape
    weights = np.zeros((n, n))
    for i in range(n):
        excess = np.maximum(lengths[i] - lengths[i].min(), 0)
        low, high = 1e-6, 1e6
        for _ in range(200):
            sigma = np.sqrt(low * high)
            low, high = (sigma, high) if np.exp(-excess / sigma).sum() < np.log2(k + 1) else (low, sigma)
        weights[i, indices[i]] = np.exp(-excess / sigma)
    return weights + weights.T - weights * weights.T


# --- training ---------------------------------------------------------------------------------------------------------


def adam(
    start: np.ndarray,
    gradient: object,
    rates: list[float],
    *,
    weight_decay: float,
    decoupled: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
) -> np.ndarray:
    """Adam with an L2 penalty, or AdamW, one step a rate."""
    x, first, second = start.astype(np.float64), 0.0, 0.0
    for t, rate in enumerate(rates, start=1):
        g = gradient(x) + (0 if decoupled else weight_decay) * x
        first = betas[0] * first + (1 - betas[0]) * g
        second = betas[1] * second + (1 - betas[1]) * g * g
        x = x * (1 - rate * weight_decay * decoupled)
        x = x - rate * first / (1 - betas[0] ** t) / (np.sqrt(second / (1 - betas[1] ** t)) + 1e-8)
    return x
