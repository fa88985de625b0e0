"""Scores the artifact named by AUTORESEARCH_SUBMISSION_ARTIFACT_PATH on held-out text. Not to be edited."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from competition_packs.tiny_shared import shared  # noqa: E402

PACK_NAME = "tiny_ternary_frontier"
PUBLIC_FILE = os.path.join(HERE, "data", "public_smoke.json")
RESULT_FILE = os.path.join(HERE, "last_run.json")
PRINTED = (
    "heldout_ppl",
    "heldout_cross_entropy_nats",
    "parameter_count",
    "compressed_size_bytes",
    "artifact_bits_per_parameter",
)


def main():
    report = shared.benchmark(os.environ, PACK_NAME, PUBLIC_FILE)
    shared.write_report(RESULT_FILE, report)
    try:
        for name in PRINTED:
            print(f"{name}={report['metrics'][name]:.6f}")
        sys.stdout.flush()
    except BrokenPipeError:
        # The result is written; whoever read the console has left. Keeps Python's own flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
