"""The first call of a function of MKL's vector library must not come from two threads at once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spectag.audio.vml import FUNCTIONS

HEADER = Path(torch.__file__).parent / "include/ATen/cpu/vml.h"

CODE = """
import json, threading
from torch.overrides import TorchFunctionMode

calls = []


class Calls(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if args and hasattr(args[0], "dtype"):
            calls.append((function.__name__, str(args[0].dtype), threading.active_count()))
        return function(*args, **kwargs or {})


with Calls():
    import MODULE
print(json.dumps(calls))
"""


def test_all_of_the_library_is_called():
    if not HEADER.is_file():
        pytest.skip("this build of torch has no headers")
    used = re.findall(r"^\s*IMPLEMENT_VML_MKL\((\w+),", HEADER.read_text(), re.MULTILINE)
    assert used, "the header has another form: look how PyTorch calls the library now"
    assert set(used) <= set(FUNCTIONS)


@pytest.mark.parametrize(
    "module", ["spectag.audio.fbank", "spectag.data.statistics, spectag.runs.run", "spectag.tag.tagger"]
)
def test_it_is_called_before_there_are_threads(module):
    """The functions of what computes spectrograms, trains and tags, in both precisions."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("MODULE", module)], capture_output=True, text=True, check=True
    )
    calls = json.loads(done.stdout)
    for name in FUNCTIONS:
        for dtype in ("torch.float32", "torch.float64"):
            assert [name, dtype, 1] in calls
