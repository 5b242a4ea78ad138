"""`semantic_cache:` of a service file: requests that mean the same share an answer, inside a budget of wrong ones.

    semantic_cache: {input: text, max_wrong: 1%}

There is no threshold to set: how alike is alike enough is learned from the service's own answers and held by audits
(pipeline/semantic/). It changes answers, so all of it is part of the hash.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError, nearest
from trivet.spec.levers import Count
from trivet.spec.signature import TensorSpec
from trivet.spec.sources import is_target
from trivet.spec.units import Duration, Percent

HASHED = "hashed"  # the encoder that needs no model
ANSWER = "answer"  # the topic that needs no input
LARGEST_BUDGET = 0.2  # of wrong answers: beyond it the service would be another one
_LARGEST_AUDIT = 0.5

Text = Annotated[str, msgspec.Meta(min_length=1)]


class SemanticCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request may be answered with the answer to another that means the same.

    input: the input that is compared, text (BYTES). Requests that differ in any other input share nothing.
    max_wrong: of all answers, the share that may differ from what the pipeline would have said: `1%` or 0.01.
    encoder: `hashed`: n-grams of characters and words, in process; the name of one of `models`, given the input under
        its own first input's name; or `module:function`, given a list of texts. Either gives one vector a text.
    size: entries that are kept; the one that was asked for least recently goes first.
    ttl_ns: how long an entry may answer.
    audit: of the requests that it could answer, the share that the pipeline answers all the same, to be compared.
    topic: for which groups wrong answers are also counted apart: the name of an input, or `answer`.
    seed: of the draws of audits.
    """

    input: Text
    max_wrong: Percent = 0.01
    encoder: Text = HASHED
    size: Count = 100_000
    ttl_ns: Literal["none"] | Duration = msgspec.field(default="none", name="ttl")
    audit: Percent = 0.03
    topic: Text | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (("max_wrong", LARGEST_BUDGET), ("audit", _LARGEST_AUDIT)):
            share = getattr(self, name)
            if not 0 < share <= most:
                raise FieldError(
                    (name,),
                    f"{name}: expected a share above 0% and up to {most:.0%}, such as 1%, got {share:g}",
                )
        if self.ttl_ns == 0:
            raise FieldError(
                ("ttl",), "ttl: an entry that lives 0 ms answers nothing; leave semantic_cache out"
            )

    @property
    def encoder_model(self) -> str | None:
        """The name under `models` of the encoder, where it is one of them."""
        return None if self.encoder == HASHED or is_target(self.encoder) else self.encoder


def check_semantic_cache(
    declared: SemanticCache, models: Collection[str], inputs: Sequence[TensorSpec] | None
) -> None:
    """Args: models: names under `models`.  inputs: of the service; None: not known yet.

    Raises: FieldError: no such model or input, or the input that is compared is no text.
    """
    model = declared.encoder_model
    if model is not None and model not in models:
        known = [HASHED, *models]
        raise FieldError(
            ("semantic_cache", "encoder"),
            f"encoder {model!r} is neither {HASHED}, nor one of models, nor module:function{nearest(model, known)}",
        )
    if inputs is None:
        return
    datatypes = {spec.name: spec.datatype for spec in inputs}
    named = {"input": declared.input}
    if declared.topic not in (None, ANSWER):
        named["topic"] = declared.topic
    for key, name in named.items():
        path = ("semantic_cache", key)
        if name not in datatypes:
            raise FieldError(path, f"the service has no input {name!r}{nearest(name, datatypes)}")
        if datatypes[name] != "BYTES":
            raise FieldError(path, f"input {name!r} is {datatypes[name]}; {key} is a text (BYTES)")
    others = [name for name in datatypes if name == ANSWER]
    if declared.topic == ANSWER and others:
        raise FieldError(
            ("semantic_cache", "topic"),
            f"{ANSWER!r} is the answer here and an input as well; rename the input",
        )
