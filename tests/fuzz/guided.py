"""One target under atheris: `python -m tests.fuzz.guided TARGET CORPUS… LIBFUZZER-OPTIONS…`."""

import sys

try:
    import atheris
except ImportError:
    sys.exit("no atheris here: it is there for Linux on x86_64, up to Python 3.13")

with atheris.instrument_imports(include=["events", "ingress", "json"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()
