import threading
import warnings

from spectag.errors import TruncatedAudioWarning
from spectag.tag.notes import noted


def warn(text: str) -> None:
    warnings.warn(TruncatedAudioWarning(text), stacklevel=1)


def test_each_thread_notes_its_own() -> None:
    found: dict[int, list[str]] = {}
    together = threading.Barrier(4)

    def work(n: int) -> None:
        with noted() as notes:
            together.wait()
            warn(f"file {n}")
            together.wait()
        found[n] = notes

    with warnings.catch_warnings(record=True) as shown:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: [f"file {n}"] for n in range(4)}
    assert sorted(str(w.message) for w in shown) == [f"file {n}" for n in range(4)]  # shown as ever


def test_the_same_warning_is_noted_each_time_and_others_pass() -> None:
    for _ in range(2):
        with warnings.catch_warnings(record=True) as shown, noted() as notes:
            warnings.simplefilter("always")
            warn("cut off")
            warnings.warn("another", UserWarning, stacklevel=1)
        assert notes == ["cut off"]
        assert len(shown) == 2


def test_nothing_is_left_behind() -> None:
    show, filters = warnings.showwarning, list(warnings.filters)
    with noted(), noted():
        assert warnings.showwarning is not show
    assert warnings.showwarning is show
    assert list(warnings.filters) == filters
