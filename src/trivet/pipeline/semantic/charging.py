"""What audits say of all that was given: where more of them are wrong than was claimed, the rest is charged too."""

# Wrong audits that go as claimed, counted before the first: so that one wrong audit alone charges little.
_EXPECTED = 2.0


class Charge:
    """Answers that were given and audits are drawn from the same proposals, so what audits show holds for both.

    Claims are learned from all checks, most of them of answers that are not given, and stand still where the world moves
    on; audits are few, but of what is given, at the time. The ratio of wrong audits to claimed ones is shrunk towards 1
    (the mean of its posterior under a gamma prior, by Poisson's law). It is for all time, as the budget is: no alarm
    forgets it.
    """

    __slots__ = ("_claimed", "_given", "_wrong")

    def __init__(self) -> None:
        self._given = 0.0  # claimed of the answers given, when they were
        self._claimed = 0.0  # of the audits
        self._wrong = 0

    def gave(self, claimed: float) -> None:
        self._given += claimed

    def audited(self, claimed: float, is_wrong: bool) -> None:
        self._claimed += claimed
        self._wrong += is_wrong

    def charged(self, claimed: float) -> float:
        """Expected wrong answers among those given. Args: claimed: how many, by what is known now."""
        if self._wrong <= self._claimed:
            return claimed
        return max(claimed, self._given * (self._wrong + _EXPECTED) / (self._claimed + _EXPECTED))
