"""Gates, plain errors and the report of the benchmark. A failure never leaves a new result file."""

import io
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

import ladder  # puts the repository on the path
from competition_packs.tiny_shared import shared
from competition_packs.tiny_ternary_frontier import train

PACK = os.path.join(ladder.ROOT, "competition_packs", "tiny_ternary_frontier")
RESULT = os.path.join(PACK, "last_run.json")


def tiny_artifact(context=6, hidden=64, **changes):
    """A valid artifact with random trits: no training needed to test the gates."""
    model = train.initial_model({"context": context, "hidden": hidden, "seed": 5})
    layers = [train.quantise_row_threshold(train.rows_of(model["columns"])), train.quantise_row_threshold(model["w2"])]
    trits = [[row for row, _ in layer] for layer in layers]
    scales = [0.5] * (hidden + shared.VOCAB)
    parts = {"scales": scales, "biases": [0.0] * (hidden + shared.VOCAB), **changes}
    return shared.pack_artifact(context, hidden, *trits, parts["scales"], parts["biases"])


def rezip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def members_of(artifact):
    with zipfile.ZipFile(io.BytesIO(artifact)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Benchmark(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.addCleanup(lambda: os.path.exists(RESULT) and os.remove(RESULT))
        if os.path.exists(RESULT):
            os.remove(RESULT)

    def run_benchmark(self, artifact=None, stdout=subprocess.PIPE, **env):
        names = dict(env)
        if artifact is not None:
            file = os.path.join(self.directory, "artifact")
            with open(file, "wb") as out:
                out.write(artifact)
            names["AUTORESEARCH_SUBMISSION_ARTIFACT_PATH"] = file
        return subprocess.run(
            [sys.executable, os.path.join(PACK, "benchmark.py")],
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **names},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    def refused(self, artifact, text, **env):
        done = self.run_benchmark(artifact, **env)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(text, done.stderr)
        self.assertFalse(os.path.exists(RESULT))
        return done.stderr

    def plain_error(self, artifact, text, **env):
        self.assertNotIn("validator_rejection=", self.refused(artifact, text, **env))

    def test_a_success_writes_the_report_and_prints_the_metrics(self):
        done = self.run_benchmark(tiny_artifact())
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(RESULT, encoding="utf-8") as source:
            text = source.read()
        report = json.loads(text)
        self.assertEqual(text, json.dumps(report, indent=2, sort_keys=True) + "\n")
        self.assertEqual(report["metric_name"], "heldout_ppl")
        self.assertEqual(report["metrics"]["heldout_ppl"], report["metric_value"])
        self.assertEqual(report["parameter_count"], 13_085)
        self.assertEqual(report["max_model_artifact_bits"], 28_951)
        self.assertEqual(report["dataset_handle"]["dataset"], "pack-local-proxy")
        self.assertEqual(report["dataset_handle"]["document_count"], 16)
        self.assertEqual(report["dataset_handle"]["rotation_key_hash"], "eb15fd23061f2ab7")
        printed = dict(line.split("=") for line in done.stdout.splitlines())
        self.assertEqual(printed["heldout_ppl"], f"{report['metric_value']:.6f}")
        self.assertEqual(printed["parameter_count"], "13085.000000")

    def test_a_model_that_knows_nothing_has_the_uniform_perplexity(self):
        self.run_benchmark(tiny_artifact(scales=[0.0] * 93))
        with open(RESULT, encoding="utf-8") as source:
            self.assertAlmostEqual(json.load(source)["metric_value"], 29.0, places=6)

    def test_the_same_model_gives_the_same_bytes(self):
        self.assertEqual(tiny_artifact(), tiny_artifact())

    def test_a_closed_pipe_does_not_spoil_a_written_result(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = self.run_benchmark(tiny_artifact(), stdout=writer)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(os.path.exists(RESULT))

    def test_no_variable_and_no_file_are_plain_errors(self):
        self.plain_error(None, "AUTORESEARCH_SUBMISSION_ARTIFACT_PATH is required")
        self.plain_error(None, "not found", AUTORESEARCH_SUBMISSION_ARTIFACT_PATH="nowhere")

    def test_an_artifact_that_cannot_be_loaded_is_a_plain_error(self):
        good = tiny_artifact()
        parts = members_of(good)
        config = json.loads(parts["config.json"])
        self.plain_error(good[:-40], "not a zip archive")
        self.plain_error(b"", "not a zip archive")
        self.plain_error(rezip({"weights.bin": b""}), "must hold config.json")
        self.plain_error(rezip({**parts, "../evil": b""}), "unsafe member path")
        self.plain_error(rezip({**parts, "/evil": b""}), "unsafe member path")
        wrong = json.dumps({**config, "vocab": 257}).encode()
        self.plain_error(rezip({**parts, "config.json": wrong}), "vocab must be 29")
        wrong = json.dumps({**config, "hidden": 63}).encode()
        self.plain_error(rezip({**parts, "config.json": wrong}), "the declared shape needs")
        wrong = json.dumps({**config, "hidden": True}).encode()
        self.plain_error(rezip({**parts, "config.json": wrong}), "positive integers")
        self.plain_error(tiny_artifact(scales=[math.inf] * 93), "not finite")

    def test_the_gates_reject_with_their_marker(self):
        good = tiny_artifact()
        self.refused(good, "validator_rejection=quantized_size: 33600 bits, at most 28951",
                     AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES="4200")
        self.refused(good, "validator_rejection=artifact_size: 72000 bits, at most 35400",
                     AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES="9000")
        parts = members_of(good)
        huge = json.dumps({**json.loads(parts["config.json"]), "hidden": 2_000}).encode()
        self.refused(rezip({**parts, "config.json": huge}), "validator_rejection=parameter_count")
        weights = bytes([243]) + parts["weights.bin"][1:]
        self.refused(rezip({**parts, "weights.bin": weights}), "validator_rejection=non_ternary")

    def test_ternary_values_as_text_do_not_fit_the_budget(self):
        # The packed form passes the gates; the same values as JSON text, deflated, are too large.
        trits = train.quantise_row_round(train.rows_of(train.initial_model(train.settings_of("default"))["columns"]))
        text = json.dumps([row for row, _ in trits]).encode()
        count = shared.parameter_count(6, 64)
        self.assertGreater(len(rezip({"weights.json": text})) * 8 / count, shared.MAX_BITS_PER_PARAMETER)
        self.assertLess(len(tiny_artifact()) * 8 / count, shared.MAX_BITS_PER_PARAMETER)

    def test_a_declared_size_must_be_a_positive_integer(self):
        for declared in ("0", "-1", "1.5", "many"):
            self.plain_error(tiny_artifact(), "must be a positive integer",
                             AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES=declared)

    def test_a_private_dataset_needs_its_documents(self):
        for dataset in ("validator-private-shard", "private://shard", "hf://owner/data"):
            self.plain_error(tiny_artifact(), "needs AUTORESEARCH_HELDOUT_SOURCES_JSON",
                             AUTORESEARCH_HELDOUT_DATASET=dataset)

    def test_a_failure_leaves_the_old_result_file(self):
        with open(RESULT, "w", encoding="utf-8") as out:
            out.write("{}")
        done = self.run_benchmark(tiny_artifact(), AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES="9000")
        self.assertEqual(done.returncode, 1)
        with open(RESULT, encoding="utf-8") as source:
            self.assertEqual(source.read(), "{}")


class Heldout(unittest.TestCase):
    def chosen(self, **env):
        return shared.heldout({f"AUTORESEARCH_{name}": value for name, value in env.items()}, ladder.benchmark.PUBLIC_FILE)

    def test_rotation_and_sync_move_the_choice_and_are_reported_as_hashes(self):
        first, handle = self.chosen()
        for env in ({"HELDOUT_ROTATION_KEY": "r2"}, {"HELDOUT_SYNC_SLOT": "4"}, {"HELDOUT_SYNC_NUMBER": "9"}):
            other, moved = self.chosen(**env)
            self.assertNotEqual(first, other)
            self.assertNotEqual(handle["document_sha256"], moved["document_sha256"])
            self.assertEqual(len(moved["rotation_key_hash"]), 16)

    def test_an_unknown_name_means_the_public_set_and_a_bad_count_the_default(self):
        documents, handle = self.chosen(HELDOUT_DATASET="validator-privat-shard", HELDOUT_DOCUMENT_COUNT="-3")
        self.assertEqual((len(documents), handle["dataset"]), (16, "validator-privat-shard"))
        self.assertLessEqual(set(documents), set(shared.load_documents(ladder.benchmark.PUBLIC_FILE)))

    def test_more_documents_than_there_are_repeats_passes(self):
        documents, _ = self.chosen(HELDOUT_DOCUMENT_COUNT="50")
        self.assertEqual((len(documents), len(set(documents))), (50, 40))

    def test_private_documents_come_inline_or_from_a_manifest_inside_its_root(self):
        inline = json.dumps({"documents": ["one text", {"text": "another text"}]})
        documents, _ = self.chosen(HELDOUT_DATASET="validator-private-shard", HELDOUT_SOURCES_JSON=inline,
                                   HELDOUT_DOCUMENT_COUNT="2")
        self.assertEqual(sorted(documents), ["another text", "one text"])
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, "a.txt"), "w", encoding="utf-8") as out:
                out.write("from a file")
            for entries, message in (([{"path": "a.txt"}], None), ([{"path": "../a.txt"}], "outside"),
                                     ([{"path": "a.txt", "sha256": "0" * 64}], "sha256"), ([], "empty")):
                manifest = os.path.join(root, "manifest.json")
                with open(manifest, "w", encoding="utf-8") as out:
                    json.dump({"datasets": {"all": entries}}, out)
                env = {"HELDOUT_DATASET": "validator-private-mix", "PRIVATE_HELDOUT_MANIFEST": manifest}
                if message is None:
                    self.assertEqual(set(self.chosen(**env)[0]), {"from a file"})
                else:
                    with self.assertRaisesRegex(ValueError, message):
                        self.chosen(**env)


class Prepare(unittest.TestCase):
    def test_it_writes_the_limits(self):
        done = subprocess.run([sys.executable, os.path.join(PACK, "prepare.py")], capture_output=True, text=True, check=True)
        manifest = os.path.join(PACK, "baseline_manifest.json")
        self.addCleanup(os.remove, manifest)
        self.assertEqual(done.stdout, "baseline_manifest=baseline_manifest.json\n")
        with open(manifest, encoding="utf-8") as source:
            limits = json.load(source)
        self.assertEqual((limits["max_compressed_bits"], limits["max_parameter_count"]), (35_400, 256_000))


if __name__ == "__main__":
    unittest.main()
