"""The values that options may take, and their defaults, for the library, the command line and recipes."""

from __future__ import annotations

from typing import Literal

WindowFunction = Literal["hamming", "hanning"]  # of the front end
Activation = Literal["sigmoid", "softmax"]  # turns logits into scores
Precision = Literal["fp32", "bf16"]  # of a network while tagging
Length = Literal["pad", "exact"]  # what becomes of a recording that is shorter than the window
Channels = Literal["mean", "sum"]  # how a patch kernel of three colour channels becomes one of one channel
Positions = Literal["bilinear", "nearest", "fresh"]  # how a positional embedding is fitted to another grid
Statistics = Literal["audioset", "esc50", "speech-commands"]  # data sets whose mean and deviation are known
MixFormat = Literal["flac", "wav"]  # of soundscapes
Encoding = Literal["s16le", "s32le", "f32le", "u8"]  # of samples without a header, as FFmpeg names them
EventMethod = Literal["change", "threshold"]  # how events are found in scores over time
Format = Literal[  # of the results of tagging
    "text",
    "json",
    "jsonl",
    "csv",
    "csv-events",
    "csv-timeline",
    "parquet",
    "parquet-timeline",
    "audacity",
    "raven",
    "kaleidoscope",
    "webvtt",
    "rttm",
    "elan",
    "dcase",
    "dcase-scores",
    "aoef",
]

MODEL = "esc10"
DEVICE = "cpu"
PRECISION: Precision = "fp32"
LENGTH: Length = "pad"
BATCH_SIZE = 16  # windows that the network computes at once
TOP_K = 5  # tags per recording
THRESHOLD = 0.5  # from which score on a class counts as found, for F1 and events
EVENT_METHOD: EventMethod = "change"
