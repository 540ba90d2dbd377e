"""What a run remembers of its epochs."""

import csv

import numpy as np

from spectag.runs.history import History, Losses
from spectag.score.metrics import compute_metrics

METRICS = compute_metrics(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32))


def test_the_loss_of_an_epoch_is_the_mean_over_its_examples(tmp_path):
    history = History(tmp_path / "metrics.csv")
    history.losses.add(1.0, 8)
    history.losses.add(4.0, 2)
    assert history.end_epoch(0.1, None) == {"epoch": 1, "loss": 1.6, "lr": 0.1}
    history.losses.add(0.5, 4)
    row = history.end_epoch(0.05, METRICS)
    assert (row["epoch"], row["loss"], row["accuracy"]) == (2, 0.5, 0.5)
    table = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [line["epoch"] for line in table] == ["1", "2"]
    assert [line["accuracy"] for line in table] == ["", "0.5"]


def test_the_best_is_the_highest_and_the_first_of_equals(tmp_path):
    history = History(tmp_path / "metrics.csv")
    chosen = []
    for figure in (None, 0.5, 0.5, 0.7, 0.6, None):
        history.losses.add(1.0, 1)
        history.end_epoch(0.1, None)
        chosen.append(history.is_best(figure))
    assert chosen == [False, True, False, True, False, False]
    assert (history.best, history.best_epoch) == (0.7, 4)


def test_it_survives_a_checkpoint_within_an_epoch(tmp_path):
    history, resumed = (History(tmp_path / f"{name}.csv") for name in "ab")
    history.losses.add(1.0, 1)
    history.end_epoch(0.1, METRICS)
    history.is_best(0.5)
    history.losses.add(2.0, 3)
    resumed.load_state_dict(history.state_dict())
    assert resumed.rows == history.rows
    assert resumed.losses == Losses(6.0, 3.0)
    assert (resumed.best, resumed.best_epoch) == (0.5, 1)
    assert resumed.seconds == history.seconds
