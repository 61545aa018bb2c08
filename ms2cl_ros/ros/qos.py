# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic. Best effort subscriptions hear reliable publishers too; the reverse is not so."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _profile(depth: int, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(depth=depth,
                      reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


CLOUDS = _profile(5, reliable=False)
# newest wins in the node, where what is passed over can be counted
IMAGES = _profile(5, reliable=False)
CAMERA_INFO = _profile(1, reliable=False)
POSES = _profile(100, reliable=False)
TF = _profile(100, reliable=True)
TF_STATIC = _profile(100, reliable=True, latched=True)
MAP = _profile(1, reliable=True, latched=True)
RESULTS = _profile(10, reliable=True)
DIAGNOSTICS = _profile(10, reliable=True)


def overridable() -> QoSOverridingOptions:
    """Lets users set history, depth and reliability: `qos_overrides./points.subscription.reliability: reliable`."""
    return QoSOverridingOptions.with_default_policies()
