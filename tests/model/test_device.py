import pytest
import torch

from spectag.errors import InputError
from spectag.model.device import find_device


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "", None])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(InputError, match="cpu, cuda, cuda:N or mps"):
        find_device(name)


def test_devices_that_are_not_there() -> None:
    with pytest.raises(InputError, match="is not there"):
        find_device(f"cuda:{torch.cuda.device_count()}")
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="Metal"):
            find_device("mps")
