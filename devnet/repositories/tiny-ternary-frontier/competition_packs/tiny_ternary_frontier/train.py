"""Trains a small next-symbol model, makes it ternary, and writes the artifact. This is the file to improve.

What agents edit is RECIPE, and the quantisers below it. Progress goes to standard output as `name=value` lines;
the last line is one JSON object that describes the artifact. A run that is killed and started again with the same
checkpoint directory ends with the same bytes.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
import time
from operator import add, mul, sub

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from competition_packs.tiny_shared import shared  # noqa: E402

# One of: round, row_round, row_threshold, compensated, qat.
RECIPE = {
    "method": "round",
    "seed": 20260422,
    "profiles": {
        "default": {"context": 6, "hidden": 64, "float_steps": 30_000, "float_rate": 0.15, "tuning_steps": 12_000},
        "fast": {"context": 5, "hidden": 48, "float_steps": 8_000, "float_rate": 0.25, "tuning_steps": 4_000},
    },
}

TUNING_RATE = 0.06
NEGLIGIBLE_GRADIENT = 0.004  # output rows with less are skipped: 1.4 times faster, no visible loss
THRESHOLD = 0.7
REQUANTISE_EVERY = 40
CALIBRATION_WINDOWS = 3_000
CHECKPOINT_UNIT = 200  # a multiple of REQUANTISE_EVERY, so that a resumed fine-tuning quantises at the same steps
PROGRESS_LINES = 20

VOCAB = shared.VOCAB


def settings_of(profile, **changes):
    """The settings of one run: the recipe's, with those of the profile on top."""
    return {"method": RECIPE["method"], "seed": RECIPE["seed"], **RECIPE["profiles"][profile], **changes}


# The float model


def initial_model(settings):
    """Small uniform weights from an integer generator, so that every Python version starts at the same place."""
    context, hidden = settings["context"], settings["hidden"]
    state = settings["seed"]

    def uniform(scale):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return ((state >> 33) / (1 << 30) - 1.0) * scale

    return {
        "columns": [[uniform(0.3) for _ in range(hidden)] for _ in range(context * VOCAB)],
        "b1": [0.0] * hidden,
        "w2": [[uniform(0.3) for _ in range(hidden)] for _ in range(VOCAB)],
        "b2": [0.0] * VOCAB,
    }


def training_windows(context):
    texts = shared.load_documents(os.path.join(HERE, "data", "train.json"))
    return [window for text in texts for window in shared.windows(shared.encode(text), context)]


def visited(step, count):
    """Which window a step trains on: a pure function of the step. 7919 is prime, so every window has its turn."""
    return (step * 7919) % count


def descend(model, used, window, rate):
    """One step of stochastic gradient descent; returns the loss in nats.

    The forward and backward passes read the weights of `used`, the update goes to those of `model`: the same
    object in the float phase, the quantised twin in the fine-tuning (a straight-through estimate).
    """
    indices, target = window
    h = shared.hidden_units(used["columns"], model["b1"], indices)
    b2 = model["b2"]
    logits = [sum(map(mul, row, h)) + bias for row, bias in zip(used["w2"], b2)]
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    scale = 1.0 / sum(powers)
    back = None
    w2, used_w2 = model["w2"], used["w2"]
    for out, power in enumerate(powers):
        gradient = power * scale
        if out == target:
            loss = gradient
            gradient -= 1.0
        elif gradient < NEGLIGIBLE_GRADIENT:
            continue
        row = used_w2[out]
        back = [gradient * w for w in row] if back is None else [b + gradient * w for b, w in zip(back, row)]
        move = rate * gradient
        w2[out] = [w - move * unit for w, unit in zip(w2[out], h)]
        b2[out] -= move
    change = [rate * b * (1.0 - unit * unit) for b, unit in zip(back, h)]
    model["b1"] = list(map(sub, model["b1"], change))
    columns = model["columns"]
    for index in indices:
        columns[index] = list(map(sub, columns[index], change))
    return -math.log(max(loss, 1e-30))


# Quantisers: a row of floats to (trits, scale)


def nearest(row, scale):
    return [(value > 0.5 * scale) - (value < -0.5 * scale) for value in row]


def mean_magnitude(values):
    return sum(map(abs, values)) / len(values)


def quantise_round(layer):
    """Round to nearest with one scale for the whole layer."""
    scale = mean_magnitude([value for row in layer for value in row])
    return [(nearest(row, scale), scale) for row in layer]


def quantise_row_round(layer):
    """Round to nearest with a scale per row."""
    return [(nearest(row, scale), scale) for row in layer for scale in (mean_magnitude(row),)]


def quantise_row_threshold(layer):
    """Zero below a share of the row's mean magnitude; the scale is the mean of what survives."""
    return [threshold_row(row) for row in layer]


def threshold_row(row):
    limit = THRESHOLD * mean_magnitude(row)
    trits = [(value > limit) - (value < -limit) for value in row]
    kept = sum(map(abs, trits))
    return trits, (sum(map(mul, trits, row)) / kept if kept else 0.0)


def compensate(layer, moments, passes=6):
    """Coordinate descent on the rows' output error over the calibration data.

    `moments` are the covariances of the layer's inputs; the mean error goes into the bias afterwards.
    Every trit takes the value that costs least given all others, then the scale is fitted again.
    """
    quantised = []
    for row in layer:
        trits, scale = threshold_row(row)
        target = [sum(map(mul, moment, row)) for moment in moments]  # S w
        for _ in range(passes):
            spread = [sum(map(mul, moment, trits)) for moment in moments]  # S t
            power = sum(map(mul, spread, trits))
            if power > 0:
                scale = sum(map(mul, target, trits)) / power
            changed = False
            for at, moment in enumerate(moments):
                own = moment[at]
                if own <= 0 or scale == 0:
                    continue
                # The value of this coordinate that would be best if it were free.
                best = trits[at] + (target[at] - scale * spread[at]) / (scale * own)
                trit = (best > 0.5) - (best < -0.5)
                if trit != trits[at]:
                    move = trit - trits[at]
                    trits[at] = trit
                    spread = [s + move * m for s, m in zip(spread, moment)]
                    changed = True
            if not changed:
                break
        quantised.append((trits, scale))
    return quantised


def covariance(vectors):
    """Means and covariances of equally long lists."""
    count = len(vectors)
    fields = list(zip(*vectors))
    means = [sum(field) / count for field in fields]
    moments = [[0.0] * len(fields) for _ in fields]
    for i, left in enumerate(fields):
        for j in range(i + 1):
            value = sum(map(mul, left, fields[j])) / count - means[i] * means[j]
            moments[i][j] = moments[j][i] = value
    return means, moments


def column_covariance(calibration, width):
    """The same for the one-hot inputs of layer 1: counting instead of multiplying."""
    count = len(calibration)
    moments = [[0.0] * width for _ in range(width)]
    for indices, _ in calibration:
        for i in indices:
            row = moments[i]
            for j in indices:
                row[j] += 1.0
    means = [moments[at][at] / count for at in range(width)]
    return means, [[value / count - mean * other for value, other in zip(row, means)] for row, mean in zip(moments, means)]


def dequantise(quantised):
    return [[trit * scale for trit in trits] for trits, scale in quantised]


def corrected(bias, layer, quantised, means):
    """The bias that keeps each row's mean output."""
    return [
        b + sum(map(mul, map(sub, row, twin), means)) for b, row, twin in zip(bias, layer, dequantise(quantised))
    ]


def quantise_compensated(model, windows):
    """Layer by layer: layer 2 is fitted to what the already ternary layer 1 gives it."""
    stride = max(1, len(windows) // CALIBRATION_WINDOWS)
    calibration = windows[::stride]
    layer1 = rows_of(model["columns"])
    means, moments = column_covariance(calibration, len(model["columns"]))
    q1 = compensate(layer1, moments)
    b1 = corrected(model["b1"], layer1, q1, means)
    columns = rows_of(dequantise(q1))
    q2_means, q2_moments = covariance([shared.hidden_units(columns, b1, indices) for indices, _ in calibration])
    float_means = [
        sum(unit) / len(calibration)
        for unit in zip(*(shared.hidden_units(model["columns"], model["b1"], indices) for indices, _ in calibration))
    ]
    q2 = compensate(model["w2"], q2_moments)
    b2 = [
        b + sum(map(mul, row, float_means)) - sum(map(mul, twin, q2_means))
        for b, row, twin in zip(model["b2"], model["w2"], dequantise(q2))
    ]
    return q1, q2, b1, b2


def rows_of(columns):
    return [list(row) for row in zip(*columns)]


QUANTISERS = {"round": quantise_round, "row_round": quantise_row_round, "row_threshold": quantise_row_threshold}
METHODS = (*QUANTISERS, "compensated", "qat")


def quantise(method, model, windows):
    """The two layers as (trits, scale) rows, and the biases."""
    if method in QUANTISERS:
        quantiser = QUANTISERS[method]
        return quantiser(rows_of(model["columns"])), quantiser(model["w2"]), model["b1"], model["b2"]
    if method == "qat":
        # The fine-tuning has trained the weights for exactly this quantiser.
        return quantise("row_threshold", model, windows)
    return quantise_compensated(model, windows)


# Phases, progress, checkpoints


class Progress:
    """Prints one line at each of PROGRESS_LINES points of the whole run. Steps count over both phases."""

    def __init__(self, total, elapsed):
        self.total = total
        self.every = max(1, total // PROGRESS_LINES)
        self.started = time.monotonic() - elapsed
        self.loss, self.steps = 0.0, 0

    def elapsed(self):
        return time.monotonic() - self.started

    def add(self, phase, step, loss):
        self.loss += loss
        self.steps += 1
        if step % self.every == 0 or step == self.total:
            mean = self.loss / self.steps
            print(
                f"phase={phase} step={step} total={self.total} loss={mean:.4f} elapsed={self.elapsed():.2f}", flush=True
            )
            self.loss, self.steps = 0.0, 0


class Checkpoints:
    """One file per phase, keyed by the settings that the phase depends on."""

    def __init__(self, directory, every):
        self.directory = directory
        self.every = every

    def due(self, step):
        return self.directory is not None and step % self.every == 0

    def write(self, phase, key, step, elapsed, model):
        if self.directory is None:
            return
        os.makedirs(self.directory, exist_ok=True)
        file = os.path.join(self.directory, f"{phase}.json")
        state = {"key": key, "phase": phase, "step": step, "elapsed": elapsed, "model": model}
        with open(f"{file}.{os.getpid()}.tmp", "w", encoding="utf-8") as out:
            out.write(json.dumps(state))
            out.flush()
            os.fsync(out.fileno())
        os.replace(out.name, file)

    def read(self, phase, key):
        if self.directory is None:
            return None
        try:
            with open(os.path.join(self.directory, f"{phase}.json"), encoding="utf-8") as source:
                state = json.load(source)
            if state["key"] != key:
                print(f"checkpoint discarded: phase={phase} was made with other settings", flush=True)
                return None
            print(f"resumed phase={phase} step={state['step']}", flush=True)
            return state
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            print(f"checkpoint ignored: phase={phase} cannot be read", flush=True)
            return None


def float_key(settings):
    return json.dumps({name: settings[name] for name in ("seed", "context", "hidden", "float_steps", "float_rate")})


def train_float(settings, windows, checkpoints, progress_for):
    """The float model after all its steps, and the seconds it took."""
    total, key = settings["float_steps"], float_key(settings)
    state = checkpoints.read("float", key) or {"step": 0, "elapsed": 0.0, "model": initial_model(settings)}
    model, progress = state["model"], progress_for(state["elapsed"])
    for step in range(state["step"], total):
        window = windows[visited(step, len(windows))]
        loss = descend(model, model, window, settings["float_rate"] * (1.0 - step / total) + 0.002)
        progress.add("float", step + 1, loss)
        if checkpoints.due(step + 1) or step + 1 == total:
            checkpoints.write("float", key, step + 1, progress.elapsed(), model)
    return model, progress.elapsed()


def fine_tune(settings, model, windows, checkpoints, progress_for, elapsed):
    """Quantisation-aware: forward through the ternary twin, gradients into the float weights."""
    total = settings["tuning_steps"]
    key = json.dumps([float_key(settings), "straight-through", total])
    state = checkpoints.read("tuning", key) or {"step": 0, "elapsed": elapsed, "model": model}
    model, progress = state["model"], progress_for(state["elapsed"])
    twin = None
    for step in range(state["step"], total):
        if step % REQUANTISE_EVERY == 0:
            twin = {
                "columns": rows_of(dequantise(quantise_row_threshold(rows_of(model["columns"])))),
                "w2": dequantise(quantise_row_threshold(model["w2"])),
            }
        at = visited(settings["float_steps"] + step, len(windows))
        loss = descend(model, twin, windows[at], TUNING_RATE * (1.0 - step / total) + 0.001)
        progress.add("tuning", settings["float_steps"] + step + 1, loss)
        if checkpoints.due(step + 1) or step + 1 == total:
            checkpoints.write("tuning", key, step + 1, progress.elapsed(), model)
    return model


def train(settings, checkpoints):
    """The artifact's bytes and what is worth knowing about it."""
    method = settings["method"]
    if method not in METHODS:
        raise SystemExit(f"unknown method {method!r}")
    windows = training_windows(settings["context"])
    total = settings["float_steps"] + (settings["tuning_steps"] if method == "qat" else 0)

    def progress_for(elapsed):
        return Progress(total, elapsed)

    model, elapsed = train_float(settings, windows, checkpoints, progress_for)
    if method == "qat":
        model = fine_tune(settings, model, windows, checkpoints, progress_for, elapsed)
    q1, q2, b1, b2 = quantise(method, model, windows)
    trits1, scales1 = zip(*q1)
    trits2, scales2 = zip(*q2)
    artifact = shared.pack_artifact(
        settings["context"], settings["hidden"], list(trits1), list(trits2), scales1 + scales2, list(b1) + list(b2)
    )
    count = shared.parameter_count(settings["context"], settings["hidden"])
    zeros = sum(row.count(0) for row in trits1 + trits2)
    ternary = count - settings["hidden"] - VOCAB
    return artifact, {
        "method": method,
        "seed": settings["seed"],
        "parameter_count": count,
        "ternary_parameter_count": ternary,
        "ternary_fraction": ternary / count,
        "zero_count": zeros,
        "nonzero_ternary_count": ternary - zeros,
        "artifact_bits_per_parameter": len(artifact) * 8 / count,
        "max_artifact_bits_per_parameter": shared.MAX_BITS_PER_PARAMETER,
    }


def write_artifact(file, data):
    os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
    with open(f"{file}.tmp", "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(f"{file}.tmp", file)


def checkpoint_interval(text):
    value = int(text)
    if value <= 0 or value % CHECKPOINT_UNIT != 0:
        raise argparse.ArgumentTypeError(f"must be a positive multiple of {CHECKPOINT_UNIT}")
    return value


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default_output = os.path.join(tempfile.gettempdir(), "autoresearch-tiny-ternary", "artifact.zip")
    parser.add_argument("--output", default=default_output, help="artifact file to write")
    parser.add_argument("--checkpoint-dir", default=None, help="where checkpoints are kept; none are without it")
    parser.add_argument("--checkpoint-every", type=checkpoint_interval, default=2_000, help="steps between two")
    parser.add_argument("--profile", choices=sorted(RECIPE["profiles"]), default="default")
    return parser.parse_args()


def main():
    options = arguments()
    checkpoints = Checkpoints(options.checkpoint_dir, options.checkpoint_every)
    artifact, facts = train(settings_of(options.profile), checkpoints)
    write_artifact(options.output, artifact)
    manifest = {
        "artifact_path": os.path.abspath(options.output),
        "artifact_sha256": hashlib.sha256(artifact).hexdigest(),
        "artifact_size_bytes": len(artifact),
        "profile": options.profile,
        **facts,
    }
    print(json.dumps(manifest, sort_keys=True), flush=True)


if __name__ == "__main__":
    main()
