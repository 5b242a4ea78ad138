"""What is known of wrong answers topic by topic: the budget is the whole stream's, so one topic may do worse."""

from dataclasses import dataclass

_MOST_TOPICS = 1_000
OTHERS = "(others)"  # topics beyond those


@dataclass(slots=True)
class Topic:
    """hits: answers given.  claimed_wrong: how many of them are expected to be wrong.  audits, wrong_audits: of checks."""

    hits: int = 0
    claimed_wrong: float = 0.0
    audits: int = 0
    wrong_audits: int = 0


class Topics:
    """Bounded: topics that come when there are a thousand are counted together."""

    def __init__(self) -> None:
        self.by_name: dict[str, Topic] = {}

    def hit(self, name: str, claimed: float) -> None:
        topic = self._of(name)
        topic.hits += 1
        topic.claimed_wrong += claimed

    def audit(self, name: str, is_right: bool) -> None:
        topic = self._of(name)
        topic.audits += 1
        topic.wrong_audits += not is_right

    def _of(self, name: str) -> Topic:
        topic = self.by_name.get(name)
        if topic is None:
            if len(self.by_name) >= _MOST_TOPICS:
                name = OTHERS
            topic = self.by_name.setdefault(name, Topic())
        return topic
