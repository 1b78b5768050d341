"""The newest figures of a training as Prometheus metrics of Ray, at the metrics port of the node that drives it."""

from collections.abc import Mapping

from ray.util.metrics import Gauge


class Gauges:
    """`ray_vqi2i_NAME{run="..."}` for the position, the seconds trained and every figure that is reported.

    Must live in a process of Ray's, which exports them.
    """

    def __init__(self, run: str):
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def set(self, position: int, total: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Show a report."""
        figures = {"position": position, "images_planned": total, "seconds_trained": seconds, **metrics}
        for name, value in figures.items():
            if name not in self._gauges:
                plain = name.replace("/", "_")
                self._gauges[name] = Gauge(f"vqi2i_{plain}", description=f"training: {name}", tag_keys=("run",))
            self._gauges[name].set(value, tags={"run": self._run})
