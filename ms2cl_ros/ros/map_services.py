# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a person or a SLAM back end may ask of the map while it grows: a copy, a new session, corrected poses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from nav_msgs.msg import Path as PathMessage
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.corrections import corrected
from ms2cl_ros.core.errors import Ms2clError, StoreError, TransformError
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.messages import to_pose
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.health import Health

NOT_CORRECTED = "correction refused"


class MapServices:
    """`~/save` and `~/new_session` (std_srvs/Trigger), `~/update_poses` (nav_msgs/Path in the map frame).

    `begin()` begins a new session, `moved()` is called after submaps have moved.
    """

    def __init__(self, node: Node, store: Store, config: Config, health: Health, begin: Callable[[], None],
                 moved: Callable[[], None]) -> None:
        self._node, self._store, self._config, self._health = node, store, config, health
        self._begin, self._moved = begin, moved
        # in a group of its own: a callback that waits holds up all others of its group
        node.create_service(Trigger, "~/save", self._save, callback_group=ReentrantCallbackGroup())
        node.create_service(Trigger, "~/new_session", self._new_session)
        node.create_subscription(PathMessage, "~/update_poses", self._update, qos.RESULTS)

    async def _save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Copies in a thread of its own, so that clouds are taken in meanwhile."""
        path, done = self._copy_path(), Future()
        threading.Thread(target=lambda: done.set_result(self._copy(path)), name="save", daemon=True).start()
        response.success, response.message = await done
        return response

    def _copy_path(self) -> Path:
        chosen = self._config.store.copy
        if chosen:
            return Path(chosen).expanduser()
        name = Path(self._config.store.database if "://" not in self._config.store.database
                    else self._config.store.cache).expanduser()
        return name.with_name(f"{name.stem}_{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}{name.suffix or '.db'}")

    def _copy(self, path: Path) -> tuple[bool, str]:
        try:
            self._store.save(path)
            return True, f"{self._store.count()} submaps copied to {path}"
        except Ms2clError as e:
            return False, str(e)

    def _new_session(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._begin()
            response.success = True
            response.message = (f"the next submap begins a new session of {self._store.name}; so far "
                                f"{len(self._store.sessions())}")
        except StoreError as e:
            response.message = str(e)
        return response

    def _update(self, message: PathMessage) -> None:
        try:
            self._node.get_logger().info(self._correct(message))
        except (StoreError, TransformError) as e:
            self._health.drop(NOT_CORRECTED, str(e))

    def _correct(self, message: PathMessage) -> str:
        wanted = self._config.frames.map
        if message.header.frame_id != wanted:
            raise TransformError(f"a corrected path in frame '{message.header.frame_id}', but the map's is '{wanted}'")
        before = self._store.poses()
        moved = corrected([to_pose(p) for p in message.poses], before)
        if not moved:
            raise TransformError(f"a corrected path of {len(message.poses)} poses covers none of {len(before)} "
                                 "submaps: its stamps lie outside of theirs")
        self._store.update_poses(moved)
        self._moved()
        old = {key: T for key, _, T in before}
        farthest = max(float(np.linalg.norm(T[:3, 3] - old[key][:3, 3])) for key, T in moved.items())
        return f"{len(moved)} of {len(before)} submaps moved, the farthest by {farthest:.2f} m"
