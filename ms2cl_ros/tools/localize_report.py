# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happened while a drive was localised: report.json, report.png, and a picture of each wrong match."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import model_folder
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.sidecar import load
from ms2cl_ros.tools import localize_plot, mistakes
from ms2cl_ros.tools.moments import STATES, Moment, figures
from ms2cl_ros.tools.offline import Topics
from ms2cl_ros.tools.report import published_line

WRONG = "wrong"


def write(folder: Path, bag: Path | str, map_: Path | str, config: Config, topics: Topics,
          moments: Sequence[Moment]) -> dict[str, Any]:
    """Writes all of it into `folder` and returns the figures.

    Pictures of an earlier report there are removed. Raises DataError if there is no moment, or nothing can be written.
    """
    if not moments:
        raise DataError(f"nothing to report of {bag}: none of its images could be used")
    model = load(model_folder(config.encoder.model))
    with open_map(map_, model, write=False) as store:
        submaps = [T for _, _, T in store.poses()]
    known = sum(m.truth is not None for m in moments)
    out: dict[str, Any] = {"bag": str(bag), "map": str(map_), "model": model.name,
                           "calibrated": bool(model.calibration or config.trust.calibration),
                           "target_precision": config.trust.target_precision, "motion": config.trust.motion,
                           "odometry": "the poses of the bag", "verify": config.trust.verify, "submaps": len(submaps),
                           "images_with_truth": known}
    out |= figures(moments, submaps)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (folder / WRONG).glob("*.png"):
            old.unlink()
        out["wrong_pictures"] = mistakes.draw_all(folder / WRONG, bag, map_, config, topics, moments)
        localize_plot.draw(folder / "report.png", title("/".join(Path(bag).parts[-2:]), out), moments, submaps,
                           config.trust.target_precision)
        (folder / "report.json").write_text(json.dumps(out, indent=2) + "\n")
    except OSError as e:
        raise DataError(f"cannot write the report to {folder}: {e.strerror}") from e
    return out


def title(name: str, out: Mapping[str, Any]) -> str:
    """Two lines for a picture."""
    states = ", ".join(f"{out['states'][s]} {s}" for s in reversed(STATES))
    first = out["seconds_to_first_match"]
    when = "no match at all" if first is None else f"first match after {first:.1f} s"
    told = published_line(out["published"]) if "published" in out else f"{out['states']['MATCHED']} of {out['images']}"
    how = f"motion {out['motion']}, target {out['target_precision']:g}"
    how += "" if out["calibrated"] else ", model without calibration"
    return f"{name}: published {told}\n{states}; {when}; {how}"
