# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What both nodes have in common: the life cycle of a managed node, its parameters and its diagnostics.

    unconfigured ─ configure ─> inactive ─ activate ─> active         (`autostart`: both at once, at the start)
    unconfigured <─ cleanup ─── inactive <─ deactivate ─ active
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.ros import parameters
from ms2cl_ros.ros.diagnostics import Diagnostics
from ms2cl_ros.ros.health import ERROR, WARN, Health

INACTIVE = "the node is not active"
DONE, FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ClosingNode(LifecycleNode):
    """A managed node that holds more than ROS entities.

    A child makes everything in `configure` and calls `start` at the end of its constructor. What ROS entities it makes
    there are destroyed by cleaning up, and their publishers speak only while `active`; what else has to be closed it
    hangs on `held`. All parameters may be set while it is unconfigured.
    """

    def __init__(self, name: str, stages: tuple[str, ...], task: str, **node_arguments: Any) -> None:
        super().__init__(name, **node_arguments)
        self.active = self.configured = False
        self.held = ExitStack()
        self.health = Health("", (), self.get_logger().warning)
        self._made: list[tuple[str, Any]] = []
        self._making = self._starting = False
        self._trouble: Exception | None = None
        self._autostart = parameters.autostart(self)
        self.config = parameters.declare(self, stages, lambda: self.configured)
        parameters.on_change(self, self._changed)
        self._service_change_state.callback = self._guarded(self._service_change_state.callback)
        Diagnostics(self, task, lambda: self.health, self._figures, self._standing)

    def configure(self) -> None:
        """Makes all that the node works with, from `config`; raises Ms2clError for what the user can mend."""
        raise NotImplementedError

    def finish(self) -> str:
        """Ends what is at hand before everything is closed; returns what there is to say."""
        raise NotImplementedError

    def figures(self) -> dict[str, str]:
        """For diagnostics, while configured."""
        raise NotImplementedError

    def tune(self, config: Config) -> None:
        """A live parameter has changed while configured."""
        raise NotImplementedError

    def activated(self) -> None:
        """Publishers speak from now on."""

    def deactivated(self) -> None:
        """Publishers are about to fall silent."""

    def start(self) -> None:
        """With `autostart`, configures and activates; what configuring raised is raised."""
        if not self._autostart:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager, or for ~/change_state")
            return
        self._starting = True
        done = self.trigger_configure() == DONE
        self._starting = False
        if not done:
            raise self._trouble or Ms2clError("the node could not be configured")
        self.trigger_activate()

    def close(self) -> str:
        """Ends its threads, closes its files; returns what there is to say at the end."""
        if not self.configured:
            return "the node was not configured"
        self.active = False
        said = self.finish()
        self._release()
        return said

    def create_publisher(self, *arguments: Any, **keywords: Any) -> Any:
        """While configuring, a publisher that speaks only while the node is active."""
        if getattr(self, "_making", False):
            return self.create_lifecycle_publisher(*arguments, **keywords)
        return super().create_publisher(*arguments, **keywords)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Makes everything, or leaves the node unconfigured with the reason in the log and on /diagnostics."""
        before, self._making, self._trouble = self._entities(), True, None
        try:
            self.config = parameters.read_config(self)
            self.configure()
            self.configured = True
        except Exception as e:
            self._trouble = e
        finally:
            self._making = False
            self._made = [entry for entry in self._entities() if entry not in before]
        if self._trouble is None:
            return DONE
        self._release()
        if not self._starting:
            known = isinstance(self._trouble, Ms2clError)
            self.get_logger().error(f"not configured: {self._trouble}" if known else "please report this: " +
                                    "".join(traceback.format_exception(self._trouble)))
        return FAILED

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publishers speak, messages are worked on."""
        done = super().on_activate(state)
        self.active = True
        self.activated()
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Everything stays as it is, but nothing is worked on and nothing is said."""
        self.active = False
        self.deactivated()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends and closes everything; parameters may be set again."""
        self.get_logger().info(self.close())
        return DONE

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same for good."""
        self.get_logger().info(self.close())
        return DONE

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self.active = False
        self._release()
        return DONE

    def _release(self) -> None:
        """Closes what is held and destroys what was made."""
        self.configured = False
        self.held.close()
        for kind, entity in self._made:
            getattr(self, f"destroy_{kind}")(entity)
        self._made = []

    def _entities(self) -> list[tuple[str, Any]]:
        gated = list(self._managed_entities)
        plain = [p for p in self.publishers if p not in gated]
        kinds = {"lifecycle_publisher": gated, "publisher": plain, "subscription": self.subscriptions,
                 "client": self.clients, "service": self.services, "timer": self.timers}
        return [(kind, entity) for kind, entities in kinds.items() for entity in entities]

    def _changed(self, config: Config) -> None:
        self.config = config
        if self.configured:
            self.tune(config)

    def _figures(self) -> dict[str, str]:
        state = "active" if self.active else "inactive" if self.configured else "unconfigured"
        return {"lifecycle": state, **(self.figures() if self.configured else {})}

    def _standing(self) -> tuple[int, str] | None:
        """What to report in place of the work's own verdict while the node is not active."""
        if self.active:
            return None
        if self.configured:
            return WARN, f"{INACTIVE}: `ros2 lifecycle set {self.get_fully_qualified_name()} activate`"
        if self._trouble is not None:
            return ERROR, f"not configured: {self._trouble}"
        return WARN, f"unconfigured: `ros2 lifecycle set {self.get_fully_qualified_name()} configure`"

    def _guarded(self, change: Callable[..., ChangeState.Response]) -> Callable[..., ChangeState.Response]:
        """rclpy lets a request for a transition that is not possible now end the process."""
        def changed(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            try:
                return change(request, response)
            except rclpy_implementation.RCLError as e:
                wanted = request.transition.label or request.transition.id
                self.get_logger().warning(f"transition {wanted} is not possible now: {' '.join(str(e).split())}")
                response.success = False
                return response
        return changed
