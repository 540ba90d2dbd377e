import pytest
import torch

from spectag.errors import InputError
from spectag.model.device import computes_bf16, find_device, trains_faster_in_bf16

CPU, MPS = torch.device("cpu"), torch.device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "", None])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(InputError, match="cpu, cuda, cuda:N or mps"):
        find_device(name)


def test_devices_that_are_not_there() -> None:
    with pytest.raises(InputError, match="is not available"):
        find_device(f"cuda:{torch.cuda.device_count()}")
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="Metal"):
            find_device("mps")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_gpus_are_counted_from_0(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for name, number in (("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:2", 2)):
        if number < count:
            assert find_device(name) == torch.device(name)
        else:
            with pytest.raises(InputError, match=f"sees {count} CUDA"):
                find_device(name)


@pytest.mark.parametrize(
    ("abilities", "computes", "trains_faster"),
    [
        ({"avx2": True}, False, False),
        ({"avx512_bf16": False, "amx_bf16": False}, False, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True, False),
        ({"avx512_bf16": False, "amx_bf16": True}, True, True),
        (None, True, False),
    ],
)
def test_bf16_of_a_processor(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool] | None, computes: bool, trains_faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert (computes_bf16(CPU), trains_faster_in_bf16(CPU)) == (computes, trains_faster)
    assert (computes_bf16(MPS), trains_faster_in_bf16(MPS)) == (True, False)


def test_bf16_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert (computes_bf16(CPU), trains_faster_in_bf16(CPU)) == (True, False)


def test_bf16_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert trains_faster_in_bf16(torch.device("cuda")) == supported
