"""Measures the ladder: every method, on several seeds, on public and (when given) private documents.

    python3 tests/ladder.py [fast|default]              prints the table as JSON
    TINY_PRIVATE_DOCUMENTS=FILE python3 tests/ladder.py  with the private column
"""

import contextlib
import io
import json
import math
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from competition_packs.tiny_shared import shared  # noqa: E402
from competition_packs.tiny_ternary_frontier import benchmark, train  # noqa: E402

METHODS = ("round", "row_round", "row_threshold", "compensated", "qat")
SEEDS = (20260422, 1, 2)


def private_documents():
    """Path of the validator's documents, which are not part of this repository; None without them."""
    return os.environ.get("TINY_PRIVATE_DOCUMENTS") or None


def perplexity(model, env):
    documents, _ = shared.heldout(env, benchmark.PUBLIC_FILE)
    total, tokens, _ = shared.score(model, documents, shared.DEFAULT_MAX_TOKENS)
    return math.exp(total / tokens)


def measure(profile, seed):
    """Perplexities by method for one seed; the float stage is trained once and found again in the checkpoints."""
    evaluations = {"public": {}}
    if private_documents():
        evaluations["private"] = {
            "AUTORESEARCH_HELDOUT_DATASET": "validator-private-shard",
            "AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST": private_documents(),
        }
    table = {}
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        checkpoints = train.Checkpoints(directory, 2_000)
        for method in METHODS:
            artifact, facts = train.train(train.settings_of(profile, method=method, seed=seed), checkpoints)
            file = os.path.join(directory, "artifact")
            train.write_artifact(file, artifact)
            model = shared.load_artifact(file)
            table[method] = {name: round(perplexity(model, env), 4) for name, env in evaluations.items()}
            table[method]["bits_per_parameter"] = round(facts["artifact_bits_per_parameter"], 4)
    return table


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "fast"
    print(json.dumps({str(seed): measure(chosen, seed) for seed in SEEDS}, indent=1))
