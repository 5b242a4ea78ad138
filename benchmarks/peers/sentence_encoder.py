"""What the peers' scripts share: one sentence to token ids, and a padded batch of them through onnxruntime.

From the environment: PEER_MODEL (encoder.onnx with tokenizer.json beside it), PEER_PORT, PEER_BATCH, PEER_DELAY_MS.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_TOKENS = 128
PORT = int(os.environ["PEER_PORT"])
BATCH = int(os.environ["PEER_BATCH"])
DELAY_MS = float(os.environ.get("PEER_DELAY_MS", "2"))


def tokenizer():
    path = Path(os.environ["PEER_MODEL"]).with_name("tokenizer.json")
    made = Tokenizer.from_file(str(path))
    made.no_padding()
    made.enable_truncation(MAX_TOKENS)
    return made


class Encoder:
    """One thread, as everybody has here."""

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=providers)

    def run(self, batch):
        """Vectors of several lists of token ids, padded to the longest of them."""
        lengths = [len(ids) for ids in batch]
        ids = np.zeros((len(batch), max(lengths)), np.int64)
        mask = np.zeros_like(ids)
        for row, (tokens, length) in enumerate(zip(batch, lengths)):  # noqa: B905 - they are as long
            ids[row, :length] = tokens
            mask[row, :length] = 1
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
