"""Record what TensorFlow 1.10.1 computes, for tests/test_eigen.py to compare with bit for bit.

It needs Python 3.6 with tensorflow==1.10.1 and protobuf<3.20, nothing else:
python tests/data/record_tensorflow.py tests/data/tensorflow-1.10.1.npz
"""

import sys

import numpy as np
import tensorflow as tf

FEW_CLASSES = [(rows, classes) for classes in range(1, 8) for rows in (1, 2, 3, 8, 9, 64)]
MANY_CLASSES = [(rows, classes) for classes in (8, 9, 10, 15, 16, 17, 33, 100) for rows in (1, 2, 5)]
SCALES = (0.1, 1.0, 10.0, 60.0, 1e30)


def batches():
    """Yield a name, logits and label indices for every shape and scale."""
    random = np.random.RandomState(20181)
    for rows, classes in FEW_CLASSES + MANY_CLASSES:
        for scale in SCALES if rows == 9 else (random.choice(SCALES[:4]),):
            logits = (random.normal(size=(rows, classes)) * scale).astype(np.float32)
            yield f"{rows}x{classes}@{scale}", logits, random.randint(0, classes, rows)


def main():
    """Run TensorFlow on every batch and save inputs and outputs."""
    recorded = {}
    with tf.Session() as session:
        for name, logits, indices in batches():
            one_hot = np.eye(logits.shape[1], dtype=np.float32)[indices]
            x, y, k = tf.constant(logits), tf.constant(one_hot), tf.constant(indices)
            softmax = tf.nn.softmax(x)
            dense = tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x)
            clipped = -tf.reduce_sum(y * tf.log(tf.clip_by_value(softmax, 1e-36, 1.0)), axis=1)
            outputs = {
                "softmax": softmax,
                "naive": -tf.reduce_sum(y * tf.log(softmax), axis=1),
                "clipped": clipped,
                "dense": dense,
                "sparse": tf.nn.sparse_softmax_cross_entropy_with_logits(labels=k, logits=x),
                "mean": tf.reduce_mean(dense),
                "sum": tf.reduce_sum(dense),
            }
            recorded["logits " + name], recorded["indices " + name] = logits, indices
            for quantity, value in session.run(outputs).items():
                recorded[quantity + " " + name] = value
        for length in (1, 7, 8, 2003):
            exponents = np.linspace(-110, 110, length).astype(np.float32)
            powers = (10.0 ** np.linspace(-44, 38, length)).astype(np.float32)
            recorded[f"x exp {length}"], recorded[f"x log {length}"] = exponents, powers
            recorded[f"y exp {length}"] = session.run(tf.exp(tf.constant(exponents)))
            recorded[f"y log {length}"] = session.run(tf.log(tf.constant(powers)))
    np.savez_compressed(sys.argv[1], **recorded)


if __name__ == "__main__":
    main()
