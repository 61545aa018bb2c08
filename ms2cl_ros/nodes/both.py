# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`submap_mapper` and `place_matcher` in one process: one interpreter, one model runtime.

Their callbacks take turns in one thread; each has its own worker thread. A parameter given with `-p` goes to both, one
given with `-p submap_mapper:NAME:=VALUE` to that node.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.nodes.place_matcher import PlaceMatcher
from ms2cl_ros.nodes.submap_mapper import SubmapMapper
from ms2cl_ros.ros.run import run


def shared_encoders() -> Callable[[EncoderConfig], Encoder]:
    """`Encoder.load` that loads a model once for all who want it on the same terms; threads may use it together."""
    loaded: list[tuple[EncoderConfig, Encoder]] = []

    def load(config: EncoderConfig) -> Encoder:
        for known, encoder in loaded:
            if known == config:
                return encoder
        loaded.append((config, Encoder.load(config)))
        return loaded[-1][1]
    return load


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    load = shared_encoders()
    return run("both", [partial(SubmapMapper, load), partial(PlaceMatcher, load)], args)


if __name__ == "__main__":
    sys.exit(main())
