"""granian with a batcher by hand: what has gathered while the engine's thread was busy makes the next batch."""

import asyncio

import msgspec
import sentence_encoder as shared

IS_SERVING = __name__ != "__main__"  # granian imports this file again in its worker


class Question(msgspec.Struct):
    text: str


class Batcher:
    def __init__(self):
        self.waiting = []
        self.is_busy = False

    def put(self, ids):
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((ids, answer))
        if not self.is_busy:
            self.is_busy = True
            self.running = asyncio.ensure_future(self.run())
        return answer

    async def run(self):
        await asyncio.sleep(shared.DELAY_MS / 1000)
        while self.waiting:
            batch, self.waiting = self.waiting[: shared.BATCH], self.waiting[shared.BATCH :]
            ids = [one for one, _ in batch]
            vectors = await asyncio.get_running_loop().run_in_executor(None, encoder.run, ids)
            for (_, answer), vector in zip(batch, vectors):  # noqa: B905 - they are as long
                if not answer.done():
                    answer.set_result(vector.tolist())
        self.is_busy = False


if IS_SERVING:
    encoder, tokenizer, batcher = shared.Encoder(), shared.tokenizer(), Batcher()
    decode, encode = msgspec.json.Decoder(Question).decode, msgspec.json.Encoder().encode
    HEADERS = [("content-type", "application/json")]

    async def app(scope, protocol):
        ids = tokenizer.encode(decode(await protocol()).text).ids
        protocol.response_bytes(200, HEADERS, encode({"y": await batcher.put(ids)}))

else:
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels

    Granian(
        "sentences_granian:app",
        address="127.0.0.1",
        port=shared.PORT,
        interface=Interfaces.RSGI,
        workers=1,
        loop=Loops.uvloop,
        log_level=LogLevels.error,
        backpressure=4096,
        backlog=4096,
    ).serve()
