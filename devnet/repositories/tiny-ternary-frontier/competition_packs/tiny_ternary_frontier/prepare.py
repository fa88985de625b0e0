"""Writes baseline_manifest.json: the limits of the task and the digests of its data. No arguments, no network."""

import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from competition_packs.tiny_shared import shared  # noqa: E402

MANIFEST = "baseline_manifest.json"
CONTEXT, HIDDEN = 6, 64


def digest(name):
    with open(os.path.join(HERE, "data", name), "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()


def main():
    layers = (
        ("context_to_hidden", (HIDDEN, CONTEXT * shared.VOCAB)),
        ("hidden_to_symbol", (shared.VOCAB, HIDDEN)),
    )
    manifest = {
        "pack_name": "tiny_ternary_frontier",
        "model_id": shared.REFERENCE_MODEL_ID,
        "reference_model_id": shared.REFERENCE_MODEL_ID,
        "proxy_model_id": None,
        "tokenizer_id": shared.TOKENIZER_ID,
        "public_debug_datasets": [shared.PUBLIC_DATASET],
        "metric_name": "heldout_ppl",
        "metric_direction": "minimize",
        "secondary_metric_name": None,
        "ppl_resolution_nats": shared.PPL_RESOLUTION_NATS,
        "max_high_precision_fraction": shared.MAX_NON_NATIVE_FRACTION,
        "max_non_native_fraction": shared.MAX_NON_NATIVE_FRACTION,
        "max_rescue_fraction": shared.MAX_NON_NATIVE_FRACTION,
        "native_bits_per_parameter": shared.NATIVE_BITS_PER_PARAMETER,
        "rescue_bits_per_parameter": shared.RESCUE_BITS_PER_PARAMETER,
        "rescue_quantization": shared.RESCUE_QUANTIZATION,
        "rescue_scale_bits": shared.RESCUE_SCALE_BITS,
        "rescue_scale_group_size": shared.RESCUE_SCALE_GROUP_SIZE,
        "effective_rescue_bits_per_parameter": shared.EFFECTIVE_RESCUE_BITS,
        "max_bits_per_parameter": shared.MAX_BITS_PER_PARAMETER,
        "baseline_parameter_count": shared.REFERENCE_PARAMETER_COUNT,
        "baseline_size_bytes": 2 * shared.REFERENCE_PARAMETER_COUNT,
        "max_parameter_count": shared.MAX_PARAMETER_COUNT,
        "max_compressed_bits": shared.MAX_ARTIFACT_BITS,
        "quality_floor": None,
        "layer_specs": [
            {"name": name, "shape": list(shape), "element_count": shape[0] * shape[1]}
            for name, shape in layers
        ],
        "data_sha256": {name: digest(name) for name in ("train.json", "public_smoke.json")},
    }
    with open(os.path.join(HERE, MANIFEST), "w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=2, sort_keys=True)
        out.write("\n")
    print(f"baseline_manifest={MANIFEST}")


if __name__ == "__main__":
    main()
