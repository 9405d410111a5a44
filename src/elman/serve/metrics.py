"""Numbers for Prometheus."""

import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from elman.serve.models import Model

FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Batchers(Collector):
    """What the batchers are doing now."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        speaking = GaugeMetricFamily("elman_speaking", "Replies being said.", labels=["model"])
        unfinished = GaugeMetricFamily(
            "elman_open", "Replies being said, read for, or waiting.", labels=["model"]
        )
        said = CounterMetricFamily("elman_said_tokens", "Tokens said.", labels=["model"])
        for name, model in self._models.items():
            speaking.add_metric([name], model.batcher.speaking)
            unfinished.add_metric([name], model.batcher.open)
            said.add_metric([name], model.batcher.tokens)
        return [speaking, unfinished, said]


class Metrics:
    """Counted by the server, in a registry of its own."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Batchers(models))
        self.answers = Counter(
            "elman_answers", "Answers by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.closed_connections = Counter(
            "elman_closed_connections", "Connections that the server closed, by reason.",
            ["reason"], registry=self._registry,
        )  # fmt: skip
        self.read = Counter(
            "elman_read_tokens", "Tokens read before replies.", ["model"], registry=self._registry
        )
        self.known = Counter(
            "elman_known_tokens", "Tokens that a kept state saved from being read again.",
            ["model"], registry=self._registry,
        )  # fmt: skip
        self.first = Histogram(
            "elman_first_token_seconds", "From a request to the first token of its reply.",
            ["model"], buckets=FIRST_TOKEN_SECONDS, registry=self._registry,
        )  # fmt: skip

    def first_token(self, name: str, asked: float) -> None:
        """Time the first token of a model's reply, from when it was asked for."""
        self.first.labels(name).observe(time.monotonic() - asked)

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)
