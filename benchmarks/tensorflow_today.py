"""Which of the blog's 72 numbers an installed TensorFlow prints today.

Run it where xent is installed, and name a Python that has TensorFlow (1.x or 2.x, its Python may be 3.6):
python benchmarks/tensorflow_today.py /path/to/python
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from xentcli import load
from xentcli.judge.expectations import is_reproduced
from xentcli.load import sources
from xentcli.model import Case

CASES = Path(__file__).parent.parent / "cases"
BLOG = ("abnormal", "normal-10class", "normal-3x3")

# The blog's script, for every case on standard input; it prints every quantity, flattened, as text.
SCRIPT = r"""
import json, math, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow
version, tf = tensorflow.__version__, getattr(tensorflow, "compat", tensorflow)
tf = getattr(tf, "v1", tensorflow)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()

def text(value):  # as NumPy prints an array at 8 digits, and a scalar with the digits that read back
    if np.ndim(value) == 0:
        return [str(value)]
    line = np.array2string(value, separator=" ", max_line_width=10**6, threshold=10**6)
    return line.replace("[", " ").replace("]", " ").split()

def quantities(case, session):
    x, y = tf.constant(case["logits"], tf.float32), tf.constant(case["labels"], tf.float32)
    softmax = tf.nn.softmax(x)
    given = softmax if case["probabilities"] is None else tf.constant(case["probabilities"], tf.float32)
    low, high = case["clip"]
    indices = tf.argmax(y, 1)
    losses = {
        "naive": -tf.reduce_sum(y * tf.log(given), 1),
        "clipped": -tf.reduce_sum(y * tf.log(tf.clip_by_value(given, low, high)), 1),
        "dense": tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x),
        "sparse": tf.nn.sparse_softmax_cross_entropy_with_logits(labels=indices, logits=x),
    }
    other = {
        "softmax": softmax,
        "class_indices": indices,
        "softmax_sum": tf.reduce_mean(tf.reduce_sum(softmax, 1)),
        "softmax_matches": tf.reduce_sum(tf.cast(tf.abs(softmax - given) < 1e-6, tf.float32)),
    }
    means = {name: tf.reduce_mean(loss) for name, loss in losses.items()}
    losses, means, other = session.run([losses, means, other])
    by_hand = []
    for row, label in zip(other["softmax"], case["labels"]):
        loss = 0.0
        for p, weight in zip(row, label):
            loss -= (math.log(p) if p > 0 else -math.inf) * weight
        by_hand.append(repr(float(loss)))
    printed = {name: text(value) for name, value in other.items()}
    printed["by_hand"] = by_hand
    for name in losses:
        printed[name] = text(means[name] if name in case["scalars"] else losses[name])
    return printed

with tf.Session() as session:
    cases = json.load(sys.stdin)
    print(json.dumps([version] + [quantities(case, session) for case in cases]))
"""


def typed(case: Case) -> dict[str, Any]:
    """Return what the script needs of a case, as plain lists."""
    batch = case.batch
    return {
        "logits": batch.logits.tolist(),
        "labels": batch.labels.tolist(),
        "probabilities": None if batch.probabilities is None else batch.probabilities.tolist(),
        "clip": batch.clip,
        "scalars": [e.quantity for e in case.expectations if e.shape == ()],
    }


def main() -> None:
    """Run the script under the Python named and compare number by number."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one argument
        sys.exit(__doc__)
    cases = load.load_all(sources.read_all([str(CASES / f"{name}.yaml") for name in BLOG])[0])
    done = subprocess.run(
        [sys.argv[1], "-W", "ignore", "-c", SCRIPT],
        input=json.dumps([typed(case) for case in cases]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    version, *answers = json.loads(done.stdout.splitlines()[-1])
    numbers, reproduced = 0, 0
    for case, printed in zip(cases, answers, strict=True):
        for expectation in case.expectations:
            pairs = zip(expectation.texts, printed[expectation.quantity], strict=True)
            for place, (expected, got) in enumerate(pairs):
                numbers += 1
                reproduced += same(expected, got)
                if not same(expected, got):
                    print(
                        f"{case.name} {expectation.quantity}[{place}]: the blog {expected}, TensorFlow {got}"
                    )
    print(f"TensorFlow {version} prints {reproduced} of {numbers}")


def same(expected: str, got: str) -> bool:
    """Whether the text is that of the blog, or the same number with as many digits."""
    return got == expected or (len(got) == len(expected) and is_reproduced(expected, float(got)))


if __name__ == "__main__":
    main()
