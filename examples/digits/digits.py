"""The model: a small neural network of scikit-learn, trained in seconds on its own handwritten digits (8 x 8 pixels)."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 0


def parts():
    """Rows and labels to train on, and those that the model never sees: 1,078 and 719 of 1,797."""
    digits = load_digits()
    return train_test_split(
        digits.data.astype("float32"), digits.target, test_size=0.4, random_state=SEED, stratify=digits.target
    )


def model() -> Pipeline:
    """What `trivet convert digits.py:model` converts."""
    rows, _, labels, _ = parts()
    network = MLPClassifier((128, 128), max_iter=40, early_stopping=True, random_state=SEED)
    return make_pipeline(StandardScaler(), network).fit(rows, labels)
