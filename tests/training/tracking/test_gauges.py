import re
import time
import urllib.request

import pytest

from training.tracking.report_actor import report_actor


class Silent:
    """A journal that takes everything."""

    def log(self, *report: object) -> None: ...


@pytest.mark.ray
@pytest.mark.slow
def test_figures_of_a_training_are_metrics_of_its_node(ray_session: None) -> None:
    import ray

    (node,) = (node for node in ray.nodes() if node["Alive"])
    address = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    journal: object = Silent()
    with report_actor(journal, "first") as reports:  # type: ignore[arg-type]
        found: dict[str, float] = {}
        deadline = time.monotonic() + 60
        while (
            not {"position", "pixel", "time_data"} <= found.keys() and time.monotonic() < deadline
        ):
            reports.put.remote("log", (250, 1000, {"pixel": 0.25, "time/data": 2.0}, 60.0))
            time.sleep(1)
            page = urllib.request.urlopen(address, timeout=10).read().decode()
            found = {
                name: float(value)
                for name, labels, value in re.findall(
                    r"^ray_vqi2i_(\w+)\{(.*)\} (\S+)$", page, re.MULTILINE
                )
                if 'run="first"' in labels
            }
    assert (found["position"], found["images_planned"], found["seconds_trained"]) == (250, 1000, 60)
    assert (found["pixel"], found["time_data"]) == (0.25, 2)
