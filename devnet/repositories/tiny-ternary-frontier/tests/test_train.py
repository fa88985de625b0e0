"""Training ends with the same bytes however often it was killed, and tells how far it is."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

import ladder  # puts the repository on the path
from competition_packs.tiny_ternary_frontier import train

TRAIN = os.path.join(ladder.ROOT, "competition_packs", "tiny_ternary_frontier", "train.py")
PROGRESS = re.compile(r"phase=(\w+) step=(\d+) total=(\d+) loss=(\d+\.\d+) elapsed=(\d+\.\d+)$")


def source_with(method):
    with open(TRAIN, encoding="utf-8") as source:
        return re.sub(r'"method": "\w+"', f'"method": "{method}"', source.read(), count=1)


class Training(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        # A copy of the pack with the method changed by one word, as a recipe does it.
        self.script = os.path.join(self.directory, "competition_packs", "tiny_ternary_frontier", "train.py")
        os.makedirs(os.path.dirname(self.script))
        packs = os.path.join(ladder.ROOT, "competition_packs")
        os.symlink(os.path.join(packs, "tiny_shared"), os.path.join(self.directory, "competition_packs", "tiny_shared"))
        os.symlink(
            os.path.join(packs, "tiny_ternary_frontier", "data"), os.path.join(os.path.dirname(self.script), "data")
        )

    def start(self, method, checkpoints, *more):
        with open(self.script, "w", encoding="utf-8") as out:
            out.write(source_with(method))
        command = [sys.executable, self.script, "--profile", "fast", "--output", self.artifact()]
        command += ["--checkpoint-dir", os.path.join(self.directory, checkpoints), *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def artifact(self):
        return os.path.join(self.directory, "out", "artifact")

    def finish(self, process):
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 0, output)
        return output.splitlines()

    def kill_at(self, phase, step, process):
        for line in process.stdout:
            found = PROGRESS.match(line)
            if found and found[1] == phase and int(found[2]) >= step:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        self.assertEqual(process.wait(), -signal.SIGKILL)

    def test_a_killed_run_resumes_in_both_phases_and_ends_with_the_same_bytes(self):
        whole = self.finish(self.start("qat", "whole"))
        self.kill_at("float", 2_400, self.start("qat", "killed", "--checkpoint-every", "400"))
        self.kill_at("tuning", 10_000, self.start("qat", "killed", "--checkpoint-every", "400"))
        resumed = self.finish(self.start("qat", "killed", "--checkpoint-every", "400"))
        self.assertEqual(resumed[0], "resumed phase=float step=8000")
        self.assertRegex(resumed[1], r"^resumed phase=tuning step=\d+00$")
        self.assertEqual(json.loads(whole[-1])["artifact_sha256"], json.loads(resumed[-1])["artifact_sha256"])

    def test_progress_lines_lead_to_the_manifest(self):
        lines = self.finish(self.start("round", "checkpoints"))
        progress = [PROGRESS.match(line) for line in lines[:-1]]
        self.assertTrue(all(progress), lines)
        self.assertEqual([int(found[2]) for found in progress][-1], 8_000)
        self.assertEqual({found[3] for found in progress}, {"8000"})
        self.assertLess(float(progress[-1][4]), float(progress[0][4]))
        manifest = json.loads(lines[-1])
        self.assertEqual(manifest["artifact_size_bytes"], os.path.getsize(self.artifact()))
        self.assertLess(manifest["artifact_bits_per_parameter"], manifest["max_artifact_bits_per_parameter"])

    def test_another_method_reuses_the_float_stage(self):
        self.finish(self.start("round", "shared"))
        lines = self.finish(self.start("row_threshold", "shared"))
        self.assertEqual(lines[0], "resumed phase=float step=8000")
        self.assertEqual(len(lines), 2)

    def test_checkpoints_of_other_settings_and_unreadable_ones_are_not_used(self):
        checkpoints = train.Checkpoints(os.path.join(self.directory, "c"), 2_000)
        checkpoints.write("float", "one key", 4_000, 1.0, {})
        self.assertIsNone(checkpoints.read("float", "another key"))
        self.assertEqual(checkpoints.read("float", "one key")["step"], 4_000)
        with open(os.path.join(self.directory, "c", "float.json"), "w", encoding="utf-8") as out:
            out.write('{"key": "one k')
        self.assertIsNone(checkpoints.read("float", "one key"))

    def test_an_interval_that_would_break_exact_resuming_is_refused(self):
        process = self.start("round", "checkpoints", "--checkpoint-every", "150")
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 2)
        self.assertIn("must be a positive multiple of 200", output)

    def test_an_unknown_method_ends_before_training(self):
        process = self.start("rounded", "checkpoints")
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertEqual(output.strip(), "unknown method 'rounded'")


if __name__ == "__main__":
    unittest.main()
