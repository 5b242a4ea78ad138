"""Fuzzing of everything that reads what others wrote. One module for each target, each with

SEEDS      right inputs by name, from which the fuzzer starts
TOKENS     words of the format, for its dictionary
check      takes any bytes; raises when the code under test does anything but read or refuse them
"""

TARGETS = (
    "wire_json",
    "wire_binary",
    "http",
    "openai_http",
    "service_yaml",
    "pbtxt",
    "certificate",
    "answer_table",
    "router",
    "shared_entry",
)
