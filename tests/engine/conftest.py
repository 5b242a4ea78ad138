from importlib.util import find_spec

# Engines that are extras are tested where they are installed.
collect_ignore = [] if find_spec("openvino") else ["test_openvino.py"]
