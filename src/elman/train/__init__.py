"""Training: from conversations to a bot's folder."""

from elman.train.config import Config, DataConfig, TrainConfig
from elman.train.loop import Result
from elman.train.run import resume, train
from elman.train.trainer import Trainer

__all__ = ["Config", "DataConfig", "Result", "TrainConfig", "Trainer", "resume", "train"]
