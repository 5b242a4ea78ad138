"""Carries out the scheduler's decisions in virtual time, and says how much better anybody could have done."""
