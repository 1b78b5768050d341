import threading
import time
from typing import Any

import numpy as np
import pytest

from training.tracking.report_actor import ReportClient, report_actor


class Slow:
    """A journal that takes its time."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.pictures: list[int] = []

    def log(self, position: int, *report: object) -> None:
        time.sleep(0.001)
        self.rows.append(position)

    def show(self, position: int, pictures: object) -> None:
        self.pictures.append(position)


@pytest.mark.ray
@pytest.mark.slow
def test_what_was_sent_is_written_down_in_its_order_when_it_is_settled(ray_session: None) -> None:
    journal: Any = Slow()
    with report_actor(journal, "run") as actor:
        sender = ReportClient(actor)
        for position in range(100):
            if position % 10 == 0:  # large ones travel by another way
                sender.send("show", (position, {"grid": np.zeros((256, 256, 3), np.uint8)}))
            sender.send("log", (position, 100, {"pixel": 1.0}, 1.0))
            asking = threading.Thread(target=sender.settle)  # a checkpoint has a thread of its own
            asking.start()
            asking.join()
            assert journal.rows[-1] == position
    assert journal.rows == list(range(100))
    assert journal.pictures == list(range(0, 100, 10))
