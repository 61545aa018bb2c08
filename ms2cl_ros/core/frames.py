# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transforms and poses over time: what was where at a stamp. Nothing is extrapolated, nothing is made up."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import interpolate, inverse
from ms2cl_ros.core.types import StampedPose

SECOND = 1_000_000_000
# A stamp this much older than the newest one is a clock set back (a bag that starts again), not a late message.
JUMP_NS = SECOND


def seconds(stamp_ns: int) -> str:
    """A stamp for messages to people."""
    return f"{stamp_ns / SECOND:.3f} s"


def plain(frame: str) -> str:
    """A frame name without the leading slash of ROS 1."""
    return frame.lstrip("/")


@dataclass
class _Branch:
    """Poses of one child frame in its parent: stamps rising, or one transform for all time."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    transforms: list[np.ndarray] = field(default_factory=list)

    def put(self, stamp_ns: int, T: np.ndarray, horizon_ns: int | None) -> None:
        i = bisect_left(self.stamps, stamp_ns)
        if i < len(self.stamps) and self.stamps[i] == stamp_ns:
            self.transforms[i] = T
            return
        self.stamps.insert(i, stamp_ns)
        self.transforms.insert(i, T)
        if horizon_ns is not None:
            old = bisect_left(self.stamps, self.stamps[-1] - horizon_ns)
            del self.stamps[:old], self.transforms[:old]

    def at(self, stamp_ns: int, tolerance_ns: int) -> np.ndarray | None:
        if self.static:
            return self.transforms[0]
        i = bisect_left(self.stamps, stamp_ns)
        if i < len(self.stamps) and self.stamps[i] == stamp_ns:
            return self.transforms[i]
        if 0 < i < len(self.stamps):
            before, after = self.stamps[i - 1], self.stamps[i]
            return interpolate(self.transforms[i - 1], self.transforms[i], (stamp_ns - before) / (after - before))
        end = 0 if i == 0 else -1
        return self.transforms[end] if abs(self.stamps[end] - stamp_ns) <= tolerance_ns else None


class TransformBuffer:
    """The frames of a robot as a tree, as in tf2. Safe to use from several threads.

    `horizon`: seconds of history kept for each moving frame, None for all. `gap`: seconds by which a stamp may lie
    outside of that history and still get the nearest transform; 0 for none.
    """

    def __init__(self, horizon: float | None = 10.0, gap: float = 0.0) -> None:
        self._horizon_ns = None if horizon is None else int(horizon * SECOND)
        self._gap_ns = int(gap * SECOND)
        self._branches: dict[str, _Branch] = {}
        self._lock = threading.Lock()
        self.jumps = 0

    def set(self, parent: str, child: str, stamp_ns: int, T_parent_child: np.ndarray, static: bool = False) -> bool:
        """Adds one transform (4 x 4). True if the clock jumped back and all moving frames were forgotten.

        Raises TransformError for a frame without a name, one that is its own parent, or a matrix that is not finite.
        """
        parent, child = plain(parent), plain(child)
        if not parent or not child or parent == child:
            raise TransformError(f"a transform needs two different frames, got parent '{parent}' and child '{child}'")
        if not np.all(np.isfinite(T_parent_child)):
            raise TransformError(f"the transform {parent} -> {child} at {seconds(stamp_ns)} is not finite")
        with self._lock:
            branch = self._branches.get(child)
            jumped = not static and self._is_jump(branch, stamp_ns)
            if jumped:
                self._forget()
                self.jumps += 1
                branch = None
            if static or branch is None or branch.static or branch.parent != parent:
                branch = self._branches[child] = _Branch(parent, static)
            branch.put(stamp_ns, T_parent_child, self._horizon_ns)
            return jumped

    def clear(self) -> None:
        """Forgets all moving frames; static ones stay."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._branches = {name: b for name, b in self._branches.items() if b.static}

    @staticmethod
    def _is_jump(branch: _Branch | None, stamp_ns: int) -> bool:
        return branch is not None and not branch.static and stamp_ns < branch.stamps[-1] - JUMP_NS

    def lookup(self, target: str, source: str, stamp_ns: int, gap: float | None = None) -> np.ndarray:
        """`T_target_source` at a stamp, 4 x 4 float64; linear and slerp between the transforms around it.

        `gap` overrides the buffer's. Raises TransformError naming the frame that is missing, the two trees that do
        not meet, or the stamps that are there.
        """
        target, source = plain(target), plain(source)
        gap_ns = self._gap_ns if gap is None else int(gap * SECOND)
        with self._lock:
            wanted = f"no transform from '{source}' to '{target}'"
            up_target, up_source = self._chain(target, wanted), self._chain(source, wanted)
            common = next((frame for frame in up_source if frame in up_target), None)
            if common is None:
                raise TransformError(f"{wanted}: '{source}' hangs under '{up_source[-1]}', '{target}' under "
                                     f"'{up_target[-1]}', and nothing joins the two")
            T_common_target = self._compose(up_target[:up_target.index(common)], stamp_ns, gap_ns, wanted)
            T_common_source = self._compose(up_source[:up_source.index(common)], stamp_ns, gap_ns, wanted)
        return inverse(T_common_target) @ T_common_source

    def _chain(self, frame: str, wanted: str) -> list[str]:
        """The frame and all above it; raises TransformError for an unknown frame or a loop."""
        if frame not in self._branches and all(frame != b.parent for b in self._branches.values()):
            raise TransformError(f"{wanted}: nobody publishes frame '{frame}'; known: {self._tree()}")
        chain = [frame]
        while chain[-1] in self._branches:
            parent = self._branches[chain[-1]].parent
            if parent in chain:
                raise TransformError(f"{wanted}: the frames form a loop: {' -> '.join([*chain, parent])}")
            chain.append(parent)
        return chain

    def _compose(self, frames: list[str], stamp_ns: int, gap_ns: int, wanted: str) -> np.ndarray:
        """Pose of frames[0] in the parent of frames[-1]."""
        out = np.eye(4)
        for frame in frames:
            branch = self._branches[frame]
            T = branch.at(stamp_ns, gap_ns)
            if T is None:
                raise TransformError(f"{wanted} at {seconds(stamp_ns)}: {branch.parent} -> {frame} is known from "
                                     f"{seconds(branch.stamps[0])} to {seconds(branch.stamps[-1])} only")
            out = T @ out
        return out

    def _tree(self) -> str:
        return ", ".join(f"{b.parent} -> {child}" for child, b in sorted(self._branches.items())) or "no frame at all"


class PoseBuffer:
    """The base's poses, to be asked at the stamps of clouds. One thread at a time.

    `gap`: poses are interpolated only between two that are at most this many seconds apart.
    `horizon`: seconds of history kept, None for all.
    """

    def __init__(self, gap: float, horizon: float | None = None) -> None:
        self.gap = gap
        self._horizon_ns = None if horizon is None else int(horizon * SECOND)
        self._stamps: list[int] = []
        self._poses: list[StampedPose] = []
        self.jumps = 0

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose, or None. For a stamp up to this, no better poses will come."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forgets all poses."""
        self._stamps, self._poses = [], []

    def add(self, pose: StampedPose) -> bool:
        """Takes in a pose, in any order. True if its clock jumped back and all older poses were forgotten.

        Raises TransformError for a pose that is not finite.
        """
        if not np.all(np.isfinite(pose.T_map_base)):
            raise TransformError(f"the pose at {seconds(pose.stamp_ns)} is not finite")
        jumped = bool(self._stamps) and pose.stamp_ns < self._stamps[-1] - JUMP_NS
        if jumped:
            self.clear()
            self.jumps += 1
        i = bisect_left(self._stamps, pose.stamp_ns)
        same = i < len(self._stamps) and self._stamps[i] == pose.stamp_ns
        self._stamps[i:i + same], self._poses[i:i + same] = [pose.stamp_ns], [pose]
        if self._horizon_ns is not None:
            old = bisect_left(self._stamps, self._stamps[-1] - self._horizon_ns)
            del self._stamps[:old], self._poses[:old]
        return jumped

    def window(self, start_ns: int, end_ns: int) -> PoseBuffer:
        """A copy of the poses from the last one up to `start_ns` to the first one from `end_ns`, for another thread."""
        first = max(0, bisect_right(self._stamps, start_ns) - 1)
        out = PoseBuffer(self.gap)
        last = bisect_left(self._stamps, end_ns) + 1
        out._stamps, out._poses = self._stamps[first:last], self._poses[first:last]
        return out

    def at(self, stamp_ns: int) -> StampedPose:
        """The pose at a stamp, interpolated between its neighbours (the covariance too, where both have one).

        Raises TransformError naming the nearest stamps if the stamp lies outside of the poses or in a gap.
        """
        if not self._stamps:
            raise TransformError(f"no pose at {seconds(stamp_ns)}: none has arrived yet")
        i = bisect_left(self._stamps, stamp_ns)
        if i < len(self._stamps) and self._stamps[i] == stamp_ns:
            return self._poses[i]
        if i in (0, len(self._stamps)):
            raise TransformError(f"no pose at {seconds(stamp_ns)}: poses reach from {seconds(self._stamps[0])} "
                                 f"to {seconds(self._stamps[-1])}")
        before, after = self._poses[i - 1], self._poses[i]
        width = after.stamp_ns - before.stamp_ns
        if width > self.gap * SECOND:
            raise TransformError(f"no pose at {seconds(stamp_ns)}: the nearest are {seconds(before.stamp_ns)} and "
                                 f"{seconds(after.stamp_ns)}, {width / SECOND:.3f} s apart; "
                                 f"frames.pose_gap is {self.gap:g}")
        fraction = (stamp_ns - before.stamp_ns) / width
        T = interpolate(before.T_map_base, after.T_map_base, fraction)
        return StampedPose(stamp_ns, T, _between(before.covariance, after.covariance, fraction))


def _between(a: np.ndarray | None, b: np.ndarray | None, fraction: float) -> np.ndarray | None:
    """A covariance on the way from a to b; unknown where either is."""
    return None if a is None or b is None else (1.0 - fraction) * a + fraction * b
