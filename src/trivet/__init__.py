"""trivet: a real-time inference server that keeps the balance of latency, throughput and accuracy."""

__version__ = "0.1.0.dev0"
