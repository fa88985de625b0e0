"""The harness of the tiny ternary task: symbols, model, artifact format, gates, held-out text, report.

Owned by the validator. Miners edit only a pack's `train.py`; the score comes from the artifact alone.
Python 3.10 or newer, standard library only.
"""

import hashlib
import io
import json
import math
import os
import struct
import zipfile
from operator import add, mul

# Limits of the task

REFERENCE_MODEL_ID = "adit/tiny-ternary-reference"
REFERENCE_PARAMETER_COUNT = 16_000
NATIVE_BITS_PER_PARAMETER = 2.0
MAX_NON_NATIVE_FRACTION = 0.1
RESCUE_BITS_PER_PARAMETER = 4.0
RESCUE_QUANTIZATION = "q4_symmetric_int_scaled_g128"
RESCUE_SCALE_BITS = 16
RESCUE_SCALE_GROUP_SIZE = 128
EFFECTIVE_RESCUE_BITS = RESCUE_BITS_PER_PARAMETER + RESCUE_SCALE_BITS / RESCUE_SCALE_GROUP_SIZE
MAX_BITS_PER_PARAMETER = 2.2125  # 0.9 * native + 0.1 * effective rescue bits
MAX_ARTIFACT_BITS = 35_400  # MAX_BITS_PER_PARAMETER * REFERENCE_PARAMETER_COUNT
MAX_PARAMETER_COUNT = 16 * REFERENCE_PARAMETER_COUNT
PPL_RESOLUTION_NATS = 0.02
HELDOUT_SEED = 20260422

# Symbols

ALPHABET = " abcdefghijklmnopqrstuvwxyz,."
VOCAB = len(ALPHABET)
TOKENIZER_ID = "tiny-symbols-29"
_SYMBOL_IDS = {symbol: index for index, symbol in enumerate(ALPHABET)}


def encode(text):
    """Symbol ids of a text; everything outside the alphabet becomes a space."""
    return [_SYMBOL_IDS.get(symbol, 0) for symbol in text]


# Model: logits = w2 . tanh(b1 + sum over the previous C symbols of their layer-1 column) + b2


def parameter_count(context, hidden):
    return VOCAB * context * hidden + VOCAB * hidden + hidden + VOCAB


def windows(symbols, context):
    """For each position: the layer-1 columns of its C previous symbols (spaces before the start), and the symbol."""
    padded = [0] * context + list(symbols)
    return [
        ([slot * VOCAB + padded[at + slot] for slot in range(context)], padded[at + context])
        for at in range(len(symbols))
    ]


def hidden_units(columns, bias, indices):
    total = bias
    for index in indices:
        total = map(add, total, columns[index])
    return list(map(math.tanh, total))


def log_loss(logits, target):
    """-ln softmax(logits)[target]."""
    top = max(logits)
    return top + math.log(sum([math.exp(value - top) for value in logits])) - logits[target]


def score(model, documents, max_tokens):
    """Summed cross-entropy in nats, symbols scored, documents scored. The first symbol of a document is given."""
    columns, b1, w2, b2 = model["columns"], model["b1"], model["w2"], model["b2"]
    rows = list(zip(w2, b2))
    total, tokens, scored = 0.0, 0, 0
    seen = {}
    for text in documents:
        symbols = encode(text)[:max_tokens]
        if len(symbols) < 2:
            continue
        scored += 1
        for indices, target in windows(symbols, model["context"])[1:]:
            # The prediction depends on the window alone, and windows repeat.
            key = tuple(indices)
            logits = seen.get(key)
            if logits is None:
                h = hidden_units(columns, b1, indices)
                logits = seen[key] = [sum(map(mul, row, h)) + bias for row, bias in rows]
            total += log_loss(logits, target)
            tokens += 1
    return total, tokens, scored


# Artifact: a zip of config.json and weights.bin

CONFIG_MEMBER = "config.json"
WEIGHTS_MEMBER = "weights.bin"
MODEL_TYPE = "tiny-ternary"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_PLACES = (1, 3, 9, 27, 81)
_DIGITS = [tuple((byte // place) % 3 - 1 for place in _PLACES) for byte in range(243)]


def pack_artifact(context, hidden, trits1, trits2, scales, biases):
    """The artifact's bytes, the same for the same model.

    `trits1`: H rows of C * 29 values in {-1, 0, 1}; `trits2`: 29 rows of H; `scales` and `biases`: H + 29 numbers,
    stored as little-endian fp16. Five trits share a byte, least significant first.
    """
    flat = [trit + 1 for row in trits1 + trits2 for trit in row]
    flat += [0] * (-len(flat) % 5)
    packed = bytes(
        sum(map(mul, flat[at : at + 5], _PLACES)) for at in range(0, len(flat), 5)
    )
    side = struct.pack(f"<{len(scales) + len(biases)}e", *scales, *biases)
    config = {"context": context, "hidden": hidden, "model_type": MODEL_TYPE, "vocab": VOCAB}
    members = (
        (CONFIG_MEMBER, json.dumps(config, sort_keys=True, separators=(",", ":")).encode()),
        (WEIGHTS_MEMBER, packed + side),
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, compresslevel=9)
    return buffer.getvalue()


def reject(reason, text):
    """Ends the benchmark with a marker that the validator reads as a decision, not as a fault."""
    raise RuntimeError(f"validator_rejection={reason}: {text}")


def _member(archive, name, limit):
    info = archive.getinfo(name)
    if info.file_size > limit:
        raise ValueError(f"artifact member {name} has {info.file_size} bytes, more than {limit}")
    return archive.read(info)


def load_artifact(path):
    """The dequantised model of an artifact file. Raises on anything that is not a ternary model of this task."""
    if not zipfile.is_zipfile(path):
        raise RuntimeError("artifact is not a zip archive")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
                raise RuntimeError(f"artifact holds an unsafe member path: {name!r}")
        if CONFIG_MEMBER not in archive.namelist() or WEIGHTS_MEMBER not in archive.namelist():
            raise RuntimeError(f"artifact must hold {CONFIG_MEMBER} and {WEIGHTS_MEMBER}")
        config = json.loads(_member(archive, CONFIG_MEMBER, 4096))
        context, hidden = _shape(config)
        count = parameter_count(context, hidden)
        if count > MAX_PARAMETER_COUNT:
            reject("parameter_count", f"{count} parameters, at most {MAX_PARAMETER_COUNT}")
        trit_bytes = -(-(VOCAB * context * hidden + VOCAB * hidden) // 5)
        expected = trit_bytes + 4 * (hidden + VOCAB)
        data = _member(archive, WEIGHTS_MEMBER, max(expected, 1 << 20))
    if len(data) != expected:
        raise ValueError(f"{WEIGHTS_MEMBER} has {len(data)} bytes, the declared shape needs {expected}")
    if max(data[:trit_bytes]) > 242:
        reject("non_ternary", "a weight byte is above 242, so it does not hold five ternary values")
    trits = [trit for byte in data[:trit_bytes] for trit in _DIGITS[byte]]
    side = struct.unpack(f"<{2 * (hidden + VOCAB)}e", data[trit_bytes:])
    if not all(map(math.isfinite, side)):
        raise ValueError("a scale or bias is not finite")
    scales, biases = side[: hidden + VOCAB], side[hidden + VOCAB :]
    width = context * VOCAB
    layer1 = [
        [trit * scales[unit] for trit in trits[unit * width : (unit + 1) * width]] for unit in range(hidden)
    ]
    start = hidden * width
    w2 = [
        [trit * scales[hidden + out] for trit in trits[start + out * hidden : start + (out + 1) * hidden]]
        for out in range(VOCAB)
    ]
    return {
        "context": context,
        "hidden": hidden,
        "parameter_count": count,
        "columns": [list(column) for column in zip(*layer1)],
        "b1": list(biases[:hidden]),
        "w2": w2,
        "b2": list(biases[hidden:]),
    }


def _shape(config):
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        raise ValueError(f"config.json: model_type must be {MODEL_TYPE!r}")
    if config.get("vocab") != VOCAB:
        raise ValueError(f"config.json: vocab must be {VOCAB}, not {config.get('vocab')!r}")
    shape = config.get("context"), config.get("hidden")
    if not all(type(size) is int and size > 0 for size in shape):
        raise ValueError("config.json: context and hidden must be positive integers")
    return shape


# Held-out documents

PUBLIC_DATASET = "pack-local-proxy"
PRIVATE_DATASETS = ("validator-private-shard", "validator-private-mix", "validator-backend-heldout")
PRIVATE_PREFIXES = ("private://", "hf://")
DEFAULT_DOCUMENT_COUNT = 16
DEFAULT_MAX_TOKENS = 512


def _positive(text, default):
    """Unset, unparsable and non-positive settings fall back silently, as in the live tasks."""
    try:
        value = int(text)
    except (TypeError, ValueError):
        return default
    return value if value > 0 else default


def load_documents(file):
    with open(file, encoding="utf-8") as source:
        return _entries(json.load(source), os.path.dirname(os.path.abspath(file)))


def _entries(manifest, root):
    """Texts of a manifest: a list, or an object with `documents` or with named lists in `datasets` or `categories`."""
    if isinstance(manifest, dict):
        named = manifest.get("datasets") or manifest.get("categories")
        if isinstance(named, dict):
            manifest = [entry for name in sorted(named) for entry in named[name]]
        else:
            manifest = manifest.get("documents")
    if not isinstance(manifest, list):
        raise ValueError("held-out manifest holds no list of documents")
    texts = [_entry_text(entry, root) for entry in manifest]
    if not texts:
        raise ValueError("held-out manifest is empty")
    return texts


def _entry_text(entry, root):
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict) and isinstance(entry.get("text"), str):
        return entry["text"]
    name = (entry.get("path") or entry.get("file")) if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise ValueError("held-out manifest entry has neither text nor path")
    base = os.path.realpath(root)
    file = os.path.realpath(os.path.join(base, name))
    if os.path.commonpath((base, file)) != base:
        raise ValueError("held-out document lies outside the manifest root")
    with open(file, "rb") as source:
        data = source.read()
    if entry.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
        raise ValueError("held-out document does not match its sha256")
    return data.decode("utf-8")


def _all_documents(env, dataset, public_file):
    if not (dataset in PRIVATE_DATASETS or dataset.startswith(PRIVATE_PREFIXES)):
        # An unknown name means the public set, as in the live tasks: check `dataset_handle`.
        return load_documents(public_file)
    manifest = env.get("AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST", "")
    root = env.get("AUTORESEARCH_PRIVATE_HELDOUT_ROOT", "")
    inline = env.get("AUTORESEARCH_HELDOUT_SOURCES_JSON", "")
    if inline:
        return _entries(json.loads(inline), root or os.getcwd())
    if manifest:
        with open(manifest, encoding="utf-8") as source:
            return _entries(json.load(source), root or os.path.dirname(os.path.abspath(manifest)))
    raise RuntimeError(
        f"private held-out dataset {dataset!r} needs AUTORESEARCH_HELDOUT_SOURCES_JSON"
        " or AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST"
    )


def _permutation(size, seed):
    """A Fisher-Yates shuffle of range(size) by a 64-bit xorshift: the same in every Python version."""
    state, order = seed or 1, list(range(size))
    for last in range(size - 1, 0, -1):
        state ^= (state << 13) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFFFFFFFFFFFFFF
        other = state % (last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def heldout(env, public_file):
    """The documents to score, and the `dataset_handle` that says which they were."""
    dataset = env.get("AUTORESEARCH_HELDOUT_DATASET", "") or PUBLIC_DATASET
    split = env.get("AUTORESEARCH_HELDOUT_SPLIT", "") or "validator-heldout"
    rotation = env.get("AUTORESEARCH_HELDOUT_ROTATION_KEY", "") or "default-rotation"
    slot = env.get("AUTORESEARCH_HELDOUT_SYNC_SLOT", "") or None
    number = env.get("AUTORESEARCH_HELDOUT_SYNC_NUMBER", "") or None
    count = _positive(env.get("AUTORESEARCH_HELDOUT_DOCUMENT_COUNT"), DEFAULT_DOCUMENT_COUNT)
    key = ":".join(part for part in (rotation, slot, number) if part is not None)
    texts = _all_documents(env, dataset, public_file)
    digest = hashlib.sha256(f"{dataset}:{split}:{key}:{HELDOUT_SEED}".encode()).digest()
    seed, chosen = int.from_bytes(digest[:8], "big"), []
    while len(chosen) < count:
        chosen += _permutation(len(texts), seed + len(chosen))
    documents = [texts[index] for index in chosen[:count]]
    handle = {
        "dataset": dataset,
        "dataset_categories": None,
        "dataset_mix": env.get("AUTORESEARCH_HELDOUT_DATASET_MIX", "") or None,
        "split": split,
        "document_count": len(documents),
        "document_sha256": hashlib.sha256("\0".join(documents).encode()).hexdigest(),
        "rotation_key_hash": hashlib.sha256(key.encode()).hexdigest()[:16],
        "sync_slot": slot,
        "sync_number_hash": None if number is None else hashlib.sha256(number.encode()).hexdigest()[:16],
    }
    return documents, handle


# Benchmark


def _artifact_file(env):
    path = env.get("AUTORESEARCH_SUBMISSION_ARTIFACT_PATH", "")
    if not path:
        raise RuntimeError("AUTORESEARCH_SUBMISSION_ARTIFACT_PATH is required for direct scoring")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"AUTORESEARCH_SUBMISSION_ARTIFACT_PATH not found: {path}")
    return path


def _artifact_bytes(env, path):
    declared = env.get("AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES", "")
    if not declared:
        return os.path.getsize(path)
    if not declared.isascii() or not declared.isdigit() or int(declared) == 0:
        raise ValueError(f"AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES must be a positive integer, not {declared!r}")
    return int(declared)


def benchmark(env, pack_name, public_file):
    """Scores the artifact that `env` names and returns the report. Raises when a gate or the artifact fails."""
    documents, handle = heldout(env, public_file)
    path = _artifact_file(env)
    size_bytes = _artifact_bytes(env, path)
    bits = size_bytes * 8
    if bits > MAX_ARTIFACT_BITS:
        reject("artifact_size", f"{bits} bits, at most {MAX_ARTIFACT_BITS}")
    model = load_artifact(path)
    count = model["parameter_count"]
    max_model_bits = math.ceil(count * MAX_BITS_PER_PARAMETER)
    if bits > max_model_bits:
        reject("quantized_size", f"{bits} bits, at most {max_model_bits} for {count} parameters")
    max_tokens = _positive(env.get("AUTORESEARCH_EVAL_MAX_TOKENS"), DEFAULT_MAX_TOKENS)
    total, tokens, scored = score(model, documents, max_tokens)
    if tokens == 0:
        raise RuntimeError("no scorable symbols in the held-out documents")
    entropy = total / tokens
    ppl = math.exp(min(entropy, 700.0))
    if not math.isfinite(ppl) or ppl <= 0:
        reject("heldout_ppl", f"perplexity {ppl} is not a finite positive number")
    bits_per_parameter = bits / count
    return {
        "pack_name": pack_name,
        "model_id": REFERENCE_MODEL_ID,
        "reference_model_id": REFERENCE_MODEL_ID,
        "metric_name": "heldout_ppl",
        "metric_value": ppl,
        "metrics": {
            "heldout_ppl": ppl,
            "heldout_cross_entropy_nats": entropy,
            "parameter_count": float(count),
            "compressed_bits": float(bits),
            "compressed_size_bytes": float(size_bytes),
            "artifact_bits_per_parameter": bits_per_parameter,
            "max_artifact_bits_per_parameter": MAX_BITS_PER_PARAMETER,
            "baseline_parameter_count": float(REFERENCE_PARAMETER_COUNT),
            "baseline_size_bytes": float(2 * REFERENCE_PARAMETER_COUNT),
            "submission_artifact_bytes": float(size_bytes),
            "scored_docs": float(scored),
            "token_count": float(tokens),
        },
        "secondary_metric_name": None,
        "secondary_metric_value": None,
        "parameter_count": count,
        "compressed_bits": bits,
        "compressed_size_bytes": size_bytes,
        "native_bits_per_parameter": NATIVE_BITS_PER_PARAMETER,
        "max_non_native_fraction": MAX_NON_NATIVE_FRACTION,
        "rescue_bits_per_parameter": RESCUE_BITS_PER_PARAMETER,
        "rescue_quantization": RESCUE_QUANTIZATION,
        "rescue_scale_bits": RESCUE_SCALE_BITS,
        "rescue_scale_group_size": RESCUE_SCALE_GROUP_SIZE,
        "effective_rescue_bits_per_parameter": EFFECTIVE_RESCUE_BITS,
        "artifact_bits_per_parameter": bits_per_parameter,
        "max_artifact_bits_per_parameter": MAX_BITS_PER_PARAMETER,
        "max_reference_artifact_bits": MAX_ARTIFACT_BITS,
        "max_model_artifact_bits": max_model_bits,
        "dataset_handle": handle,
        "runtime": {
            "batch_size": _positive(env.get("AUTORESEARCH_EVAL_BATCH_SIZE"), 8),
            "device": "cpu",
            "dtype": "fp64",
            "max_tokens_per_doc": max_tokens,
            "tokenizer_id": TOKENIZER_ID,
        },
    }


def write_report(file, report):
    with open(file, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=2, sort_keys=True)
        out.write("\n")
