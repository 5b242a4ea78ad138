"""The step before the encoder: a question becomes tokens. It runs in the server's loop, for some tens of microseconds."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

MAX_TOKENS = 64


class Tokenize:
    """`text`: BYTES of shape [1]; gives both inputs of the encoder, of shape [1, tokens]."""

    def __init__(self):
        self.tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def __call__(self, inputs):
        ids = np.array([self.tokenizer.encode(inputs["text"][0].decode()).ids], np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
