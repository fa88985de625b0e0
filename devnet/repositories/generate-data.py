"""Writes the text of the tiny ternary task: training, public smoke and private held-out documents.

Run once; the results are committed. All randomness comes from the integer generator below, because
library random helpers may change between Python versions. The three sets share one grammar and
differ in the seed. Usage: python3 generate-data.py [target directory, default: this one]
"""

import json
import os
import sys

PACK_DATA = os.path.join("tiny-ternary-frontier", "competition_packs", "tiny_ternary_frontier", "data")
SETS = (
    (os.path.join(PACK_DATA, "train.json"), 160, 20260422),
    (os.path.join(PACK_DATA, "public_smoke.json"), 40, 771),
    ("private.json", 60, 90417),
)

DETERMINERS = ("the", "a", "every", "this", "some")
ADJECTIVES = ("small", "bright", "quiet", "heavy", "green", "narrow", "careful", "broken", "distant", "old")
NOUNS = (
    "miner", "river", "engine", "signal", "garden", "number", "window", "teacher",
    "mountain", "letter", "pattern", "harbor", "circle", "market", "lantern", "shadow",
)
VERBS = ("follows", "measures", "carries", "repairs", "finds", "paints", "watches", "opens", "weighs", "remembers")
PREPOSITIONS = ("near", "under", "behind", "with", "above")
ADVERBS = ("slowly", "again", "at night", "with care", "for hours")
JOINTS = ("and then", "because", "while", "but")

MASK = (1 << 64) - 1


class Draws:
    """A 64-bit xorshift generator with multiplicative output."""

    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & MASK

    def below(self, limit):
        x = self.state
        x ^= x >> 12
        x = (x ^ (x << 25)) & MASK
        x ^= x >> 27
        self.state = x
        return (((x * 0x2545F4914F6CDD1D) & MASK) >> 33) % limit

    def skewed(self, words):
        """The first words come up most often: the smaller of two draws."""
        return words[min(self.below(len(words)), self.below(len(words)))]


def noun_phrase(draws):
    words = [draws.skewed(DETERMINERS)]
    if draws.below(5) < 2:
        words.append(draws.skewed(ADJECTIVES))
    words.append(draws.skewed(NOUNS))
    return " ".join(words)


def clause(draws):
    parts = [noun_phrase(draws), draws.skewed(VERBS), noun_phrase(draws)]
    if draws.below(3) == 0:
        parts.append(draws.skewed(PREPOSITIONS) + " " + noun_phrase(draws))
    return " ".join(parts)


def sentence(draws):
    text = clause(draws)
    ending = draws.below(4)
    if ending == 0:
        text += " " + draws.skewed(ADVERBS)
    elif ending == 1:
        text += ", " + draws.skewed(JOINTS) + " " + clause(draws)
    return text + "."


def documents(count, seed):
    draws = Draws(seed)
    return [" ".join(sentence(draws) for _ in range(4 + draws.below(4))) for _ in range(count)]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for path, count, seed in SETS:
        file = os.path.join(target, path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        texts = documents(count, seed)
        with open(file, "w", encoding="utf-8", newline="\n") as out:
            json.dump({"version": 1, "documents": texts}, out, indent=1)
            out.write("\n")
        print(f"{path} documents={count} symbols={sum(map(len, texts))}")


if __name__ == "__main__":
    main()
