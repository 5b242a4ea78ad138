"""What carries out the decisions of pipeline/semantic: encoders, indexes, and the front that asks them."""
