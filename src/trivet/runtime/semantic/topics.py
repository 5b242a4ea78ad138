"""What is known of wrong answers topic by topic: the budget is the whole stream's, so one topic may do worse."""

from trivet.runtime.counts import Counts

_MOST_TOPICS = 1_000
OTHERS = "(others)"  # topics beyond those


class Topics:
    """Bounded: topics that come when there are a thousand are counted together."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._known: set[str] = set()

    def hit(self, topic: str, claimed: float) -> None:
        """An answer was given that is wrong with the probability `claimed`."""
        name = self._name(topic)
        self._counts.add("trivet_semantic_topic_hits_total", topic=name)
        self._counts.add("trivet_semantic_topic_claimed_wrong", claimed, topic=name)

    def audit(self, topic: str, outcome: str) -> None:
        self._counts.add("trivet_semantic_topic_audits_total", topic=self._name(topic), outcome=outcome)

    def _name(self, topic: str) -> str:
        if topic in self._known:
            return topic
        if len(self._known) >= _MOST_TOPICS:
            return OTHERS
        self._known.add(topic)
        return topic
