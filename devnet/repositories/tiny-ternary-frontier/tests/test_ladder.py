"""The methods keep their order and their recorded perplexities, on three seeds, public and private."""

import json
import math
import os
import unittest

import ladder

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "ladder.json"), encoding="utf-8") as source:
    RECORDED = json.load(source)


class Ladder(unittest.TestCase):
    def test_every_step_is_an_improvement_on_every_seed(self):
        for seed in ladder.SEEDS:
            table = ladder.measure("fast", seed)
            evaluations = [name for name in table["round"] if name != "bits_per_parameter"]
            for evaluation in evaluations:
                values = [table[method][evaluation] for method in ladder.METHODS]
                gains = [math.log(before / after) for before, after in zip(values, values[1:])]
                with self.subTest(seed=seed, evaluation=evaluation):
                    self.assertTrue(all(gain >= 0.1 for gain in gains[:-1]), gains)
                    self.assertGreaterEqual(gains[-1], 0.02)
                    self.assertGreaterEqual(math.log(values[0] / values[-1]), 0.5)
                    for method, value in zip(ladder.METHODS, values):
                        recorded = RECORDED[str(seed)][method][evaluation]
                        self.assertLess(abs(value / recorded - 1), 0.05, method)


if __name__ == "__main__":
    unittest.main()
