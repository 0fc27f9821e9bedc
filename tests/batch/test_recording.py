"""What lies beside a recording."""

from __future__ import annotations

import pytest
from mmg_batch.recording import labels_beside


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("bucket/day.1/walk.zip", "bucket/day.1/walk.labels.csv"),
        ("bucket/day.1/walk", "bucket/day.1/walk.labels.csv"),
        ("walk.csv", "walk.labels.csv"),
        ("https://data.lab.example/day1/walk", "https://data.lab.example/day1/walk.labels.csv"),
        ("https://data.lab.example/walk.csv?token=a.b", "https://data.lab.example/walk.labels.csv?token=a.b"),
        ("https://data.lab.example", ""),
        ("https://data.lab.example/", ""),
    ],
)
def test_labels_of_a_remote_file_are_beside_it_on_its_own_host(path: str, beside: str) -> None:
    assert labels_beside(path) == beside
