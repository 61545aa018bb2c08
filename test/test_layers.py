# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who may import what, read from the syntax tree: nothing flows back up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "ms2cl_ros"
FILES = sorted(p for p in ROOT.rglob("*.py"))
ORDER = ["errors", "types", "geometry", "config", "install", "reliability", "centring", "calibration", "sidecar",
         "verification", "fitting", "pointcloud2", "images", "cameras", "messages", "frames", "corrections",
         "extrinsics", "projection", "strips", "encoder", "accumulation", "views",
         "records", "store", "filelock", "schema", "sqlite_file", "soundness", "recovery", "sqlite",
         "parcels", "server", "server_tables", "server_rows", "server_soundness", "postgres", "exchange", "cache",
         "exchanger", "fleet", "database",
         "retention", "vectors", "index", "retrieval", "motion", "hypotheses", "belief",
         "decision", "trust", "surroundings", "loop_closure", "mapper", "matcher"]
ENGINES = {"psycopg": {"core/maps/server.py"},
           "onnxruntime": {"core/encoder.py"}, "faiss": {"core/vectors.py"}, "sqlite3": {"core/maps/sqlite_file.py"},
           "cv2": {"core/images.py", "core/cameras.py", "core/projection.py"}}
ROS = {"rclpy", "sensor_msgs", "nav_msgs", "geometry_msgs", "std_msgs", "tf2_msgs", "diagnostic_msgs", "rosgraph_msgs",
       "visualization_msgs"}
HEAVY = {"torch", "timm", "trimesh", "embreex"}


def imports(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, inside functions too."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            out |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return out


def room(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=room)
def test_a_file_imports_only_what_its_room_may(path):
    names, place = imports(path), room(path)
    tops = {n.split(".")[0] for n in names}
    inner = {n.split(".")[1] for n in names if n.startswith("ms2cl_ros.") and n.count(".")}
    if place.startswith(("core/", "tools/", "training/")):
        assert not tops & ROS, "ROS stays in ros/ and nodes/"
    if not place.startswith("training/"):
        assert not tops & HEAVY, "torch, timm and the ray caster live in training/"
    if place.startswith("core/"):
        assert inner <= {"core"}
        assert all(place in ENGINES[e] for e in tops & set(ENGINES))
    if place.startswith("tools/"):
        assert inner <= {"core", "tools"}
    if place.startswith(("ros/", "nodes/")):
        assert inner <= {"core", "ros", "tools"} | ({"nodes"} if place.startswith("nodes/") else set())
    if place.startswith("training/"):
        assert inner <= {"core", "training", "tools"}


@pytest.mark.parametrize("path", [p for p in FILES if room(p).startswith("core/") and p.stem != "__init__"],
                         ids=lambda p: p.stem)
def test_core_imports_only_earlier_stages(path):
    assert path.stem in ORDER, f"give {path.stem} its place in the data flow"
    used = {part for n in imports(path) if n.startswith("ms2cl_ros.core.") for part in n.split(".")[2:4]}
    later = [s for s in used if s in ORDER and ORDER.index(s) >= ORDER.index(path.stem)]
    assert not later


@pytest.mark.parametrize("path", FILES, ids=room)
def test_a_file_carries_its_licence_and_stays_readable(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# SPDX-FileCopyrightText:")
    assert lines[1] == "# SPDX-License-Identifier: Apache-2.0"
    assert len(lines) <= 350
