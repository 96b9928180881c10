"""Libraries that find nearest neighbours, on one table: recall@10, seconds and memory.

    python tests/benchmarks/neighbour_libraries.py --rows 100000 --width 512 --threads 1

Each runs in a process of its own, twice; ``answers`` are hashes of what it found: equal ones are the same
lists. Seconds are those of the processor, which others' work does not lengthen. Other libraries are compared
where they are installed. Rows are what an encoder makes of clusters:
200 centres in 32 numbers, rows ``--spread`` around them, bent by tanh into ``--width``, with some noise.
At a spread of 1 clusters run into each other, and neighbours are hard to find.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
K, ASKED = 10, 500


def table(n: int, d: int, spread: float = 0.5) -> np.ndarray:
    """Rows (n, d) float32 of length 1."""
    draw = np.random.default_rng(0)
    z = draw.standard_normal((200, 32))[draw.integers(200, size=n)] + spread * draw.standard_normal((n, 32))
    x = np.tanh(z @ draw.standard_normal((32, d)) / 32**0.5) + 0.05 * draw.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def exact(x: np.ndarray, threads: int) -> np.ndarray:
    """This library's exact search."""
    import torch

    from rankers.item_graphs.knn import nearest

    return nearest(torch.from_numpy(x), K).index.numpy()


def cells(x: np.ndarray, threads: int) -> np.ndarray:
    """This library's index: as many cells as a sample needs, candidates in bfloat16, cosines in float64."""
    import torch

    from rankers.item_graphs.cells import indexed

    return indexed(torch.from_numpy(x), K).index.numpy()


def faiss_inverted_file(x: np.ndarray, threads: int) -> np.ndarray:
    """faiss's own look-up in the eight cells nearest to each row."""
    import faiss

    m = int(2 * len(x) ** 0.5)
    file = faiss.IndexIVFFlat(faiss.IndexFlatIP(x.shape[1]), x.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    file.cp.niter, file.cp.max_points_per_centroid, file.nprobe = 4, 40, 8
    file.train(x)
    file.add(x)
    found: np.ndarray = file.search(x, K)[1]
    return found


def faiss_hnsw(x: np.ndarray, threads: int) -> np.ndarray:
    """A small-world graph of float32 rows."""
    import faiss

    graph = faiss.IndexHNSWFlat(x.shape[1], 24, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 80, 64
    graph.add(x)
    found: np.ndarray = graph.search(x, K)[1]
    return found


def usearch_hnsw(x: np.ndarray, threads: int) -> np.ndarray:
    """A small-world graph of float16 rows."""
    from usearch.index import Index

    graph = Index(ndim=x.shape[1], metric="ip", dtype="f16", connectivity=24, expansion_search=64)
    graph.add(np.arange(len(x)), x, threads=threads)
    return np.asarray(graph.search(x, K, threads=threads).keys).astype(np.int64)


def nn_descent(x: np.ndarray, threads: int) -> np.ndarray:
    """Neighbours of neighbours, compiled by numba."""
    from pynndescent import NNDescent

    graph = NNDescent(x, "cosine", n_neighbors=2 * K, random_state=0, n_jobs=threads)
    found: np.ndarray = graph.neighbor_graph[0][:, :K]
    return found.astype(np.int64)


WAYS: dict[str, tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = {
    "exact": ("torch", exact),
    "ours": ("torch", cells),
    "faiss IVF": ("faiss", faiss_inverted_file),
    "faiss HNSW": ("faiss", faiss_hnsw),
    "usearch HNSW": ("usearch", usearch_hnsw),
    "pynndescent": ("pynndescent", nn_descent),
}


def measure(way: str, n: int, d: int, spread: float, threads: int) -> dict[str, float | str]:
    """One way, in this process."""
    import torch
    from ranker_at_size import peak_gb

    x = table(n, d, spread)
    before, seconds, answers = peak_gb(), [], []
    found = np.empty(0)
    for _ in range(1 if way == "exact" else 2):
        start = time.process_time()
        found = WAYS[way][1](x, threads)
        seconds.append(time.process_time() - start)
        answers.append(hashlib.sha256(np.ascontiguousarray(found)).hexdigest()[:6])
    memory = peak_gb() - before
    rows = np.random.default_rng(1).choice(n, size=min(n, ASKED), replace=False)
    wanted = (torch.from_numpy(x[rows]) @ torch.from_numpy(x).T).topk(K, dim=1).indices.numpy()
    hits = [len(np.intersect1d(a, b)) for a, b in zip(wanted, found[rows], strict=True)]
    return {
        "way": way,
        "CPU seconds": min(seconds),
        "recall@10": sum(hits) / wanted.size,
        "GB above the table": memory,
        "answers": " ".join(answers),
    }


def main() -> None:
    """Every way in a process of its own, and a table of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--one", action="store_true", help="measure the first way in this process")
    given = parser.parse_args()
    if given.one:
        shown = measure(given.ways[0], given.rows, given.width, given.spread, given.threads)
        sys.stdout.write(json.dumps(shown) + "\n")
        return
    threads = {f"{name}_NUM_THREADS": str(given.threads) for name in ("OMP", "NUMBA")}
    rows = []
    for way in given.ways:
        if importlib.util.find_spec(WAYS[way][0]) is None:
            rows.append({"way": f"{way}: {WAYS[way][0]} is not installed"})
            continue
        sizes = [f"--{name}={getattr(given, name)}" for name in ("rows", "width", "spread", "threads")]
        command = [sys.executable, "-W", "ignore", __file__, *sizes, "--one", "--ways", way]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **threads}
        )
        if done.returncode:
            rows.append({"way": f"{way}: {done.stderr.strip().splitlines()[-1]}"})
            continue
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".4g"))


if __name__ == "__main__":
    main()
