"""mosec: tokenizes while it reads a request, batches, and pads each batch to its longest sentence."""

import sys

import msgspec
import sentence_encoder as shared
from mosec import Server, Worker


class Question(msgspec.Struct):
    text: str


class Encode(Worker):
    def __init__(self):
        self.tokenizer = shared.tokenizer()
        self.encoder = shared.Encoder()
        self.decode = msgspec.json.Decoder(Question).decode
        self.encode = msgspec.json.Encoder().encode

    def deserialize(self, data):
        return self.tokenizer.encode(self.decode(data).text).ids

    def serialize(self, data):
        return self.encode(data)

    def forward(self, data):
        if shared.BATCH == 1:  # then mosec hands over one request, not a list
            return {"y": self.encoder.run([data])[0].tolist()}
        return [{"y": vector} for vector in self.encoder.run(data).tolist()]


if __name__ == "__main__":
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(shared.PORT), "--log-level", "error"]
    sys.argv += ["--timeout", "30000", "--capacity", "4096"]
    server = Server()
    server.append_worker(
        Encode, num=1, max_batch_size=shared.BATCH, max_wait_time=int(shared.DELAY_MS), route="/predict"
    )
    server.run()
