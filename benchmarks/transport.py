# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many large messages survive the way between two processes, and how late they are.

A cloud of 2.0 MB and an image of 1.4 MB, best effort, each at 10 Hz, from one process to another:

    python benchmarks/transport.py --seconds 60                          # the settings of the package's launch files
    python benchmarks/transport.py --seconds 10 --publisher default --subscriber default
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time

import numpy as np

CLOUD_BYTES, IMAGE_SHAPE, RATE = 2_000_000, (600, 800), 10.0
LARGE_DATA = "LARGE_DATA?max_msg_size=65000B&sockets_size=8MB&non_blocking=false"


def environment(kind: str) -> dict[str, str]:
    """The process environment with one of the transport settings."""
    from ms2cl_ros.ros.transport import SETTINGS, environment
    bare = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    bare["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if kind == "shipped":
        return {**bare, **environment(bare)}
    return {**bare, **({"FASTDDS_BUILTIN_TRANSPORTS": LARGE_DATA} if kind == "large_data" else {})}


def publish(seconds: float) -> None:
    """Publishes clouds and images one right after the other, stamped with the monotonic clock."""
    from array import array

    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image, PointCloud2
    rclpy.init()
    node = rclpy.create_node("benchmark_publisher")
    clouds = node.create_publisher(PointCloud2, "points", qos_profile_sensor_data)
    images = node.create_publisher(Image, "image", qos_profile_sensor_data)
    height, width = IMAGE_SHAPE
    cloud = PointCloud2(height=1, width=CLOUD_BYTES // 16, point_step=16, row_step=CLOUD_BYTES,
                        data=array("B", bytes(CLOUD_BYTES)))
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width,
                  data=array("B", bytes(3 * height * width)))
    while clouds.get_subscription_count() < 1 or images.get_subscription_count() < 1:
        time.sleep(0.05)
    time.sleep(0.5)
    start = time.monotonic()
    for i in range(round(seconds * RATE)):
        time.sleep(max(0.0, start + i / RATE - time.monotonic()))
        for publisher, message in ((clouds, cloud), (images, image)):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 1_000_000_000)
            publisher.publish(message)
    time.sleep(1.0)
    node.destroy_node()
    rclpy.try_shutdown()


def listen(publisher: subprocess.Popen) -> dict[str, list[float]]:
    """Latencies in seconds of what arrives until the publisher has ended."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image, PointCloud2
    rclpy.init()
    node = rclpy.create_node("benchmark_subscriber")
    late: dict[str, list[float]] = {"points": [], "image": []}

    def note(topic: str, message: PointCloud2 | Image) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        late[topic].append((time.monotonic_ns() - stamp) / 1e9)

    for topic, kind in (("points", PointCloud2), ("image", Image)):
        node.create_subscription(kind, topic, lambda m, t=topic: note(t, m), qos_profile_sensor_data)
    while publisher.poll() is None:
        rclpy.spin_once(node, timeout_sec=0.2)
    node.destroy_node()
    rclpy.try_shutdown()
    return late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    kinds = ("shipped", "default", "large_data")
    parser.add_argument("--publisher", choices=kinds, default="shipped")
    parser.add_argument("--subscriber", choices=kinds, default="shipped")
    parser.add_argument("--role", choices=("publish", "listen"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "publish":
        publish(args.seconds)
        return
    if args.role is None:
        domain = str(random.randrange(1, 100))
        command = [sys.executable, __file__, "--seconds", str(args.seconds), "--publisher", args.publisher,
                   "--subscriber", args.subscriber, "--role", "listen"]
        sys.exit(subprocess.call(command, env={**environment(args.subscriber), "ROS_DOMAIN_ID": domain}))
    command = [sys.executable, __file__, "--seconds", str(args.seconds), "--role", "publish"]
    # the publisher's setting differs from ours, the domain does not
    child = {**environment(args.publisher), "ROS_DOMAIN_ID": os.environ["ROS_DOMAIN_ID"]}
    with subprocess.Popen(command, env=child) as publisher:
        try:
            late = listen(publisher)
        finally:
            publisher.kill()
    sent = round(args.seconds * RATE)
    for topic, values in late.items():
        p50, p95 = np.percentile(values, [50, 95]) * 1e3 if values else (np.nan, np.nan)
        print(f"{topic}: {len(values)} of {sent} received, latency p50 {p50:.1f} ms, p95 {p95:.1f} ms "
              f"(publisher {args.publisher}, subscriber {args.subscriber})")


if __name__ == "__main__":
    main()
