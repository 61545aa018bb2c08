# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags without ROS: rosbag2 folders (mcap, sqlite3), single .mcap or .db3 files, and ROS 1 .bag files.

    with open_bag("drive") as bag:
        points = bag.pick(POINTS)
        for topic, stamp_ns, message in bag.messages([points]):
            ...
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ms2cl_ros.core.errors import DataError

POINTS = ("sensor_msgs/msg/PointCloud2",)
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFOS = ("sensor_msgs/msg/CameraInfo",)
POSES = ("nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")
TRANSFORMS = ("tf2_msgs/msg/TFMessage",)

STORAGES = ("mcap", "sqlite3")


@dataclass(frozen=True)
class Topic:
    """One topic of a bag. `qos`: the profiles its publishers offered, as rosbags' `Qos`; empty if not recorded."""

    name: str
    msgtype: str
    count: int
    qos: tuple[Any, ...] = ()


class Record(NamedTuple):
    """One message, undecoded. `stamp_ns`: when it was recorded, not the stamp in its header."""

    topic: str
    msgtype: str
    stamp_ns: int
    raw: bytes


class BagReader:
    """An open bag; a context manager. Every failure is a DataError that names the bag and the reason."""

    def __init__(self, path: Path | str) -> None:
        """Raises DataError if `path` is missing, is not a bag, or is damaged."""
        self.path = Path(path)
        self._reader = _open_reader(self.path)
        grouped: dict[str, list[Any]] = {}
        for connection in self._reader.connections:
            grouped.setdefault(connection.topic, []).append(connection)
        # a ROS 1 bag counts per connection, so one topic may have several
        self.topics = {name: _topic(name, found) for name, found in sorted(grouped.items())}

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def is_ros1(self) -> bool:
        """Whether the raw bytes are ROS 1's; those of rosbag2 are CDR."""
        return not self._reader.is2

    @property
    def count(self) -> int:
        """Messages in the bag."""
        return sum(topic.count for topic in self.topics.values())

    @property
    def start_ns(self) -> int:
        """When the first message was recorded; 0 for an empty bag."""
        return self._reader.start_time if self.count else 0

    @property
    def end_ns(self) -> int:
        """When the last message was recorded; 0 for an empty bag."""
        return self._reader.end_time - 1 if self.count else 0

    def pick(self, msgtypes: Iterable[str], name: str | None = None) -> str:
        """The topic called `name`, or the only one whose type is among `msgtypes`.

        Raises DataError if it is not there, has another type, or if several would do; the candidates are listed.
        """
        wanted = tuple(msgtypes)
        kinds = " or ".join(t.split("/")[-1] for t in wanted)
        if name:
            topic = self.topic(name)
            if topic.msgtype not in wanted:
                raise DataError(f"{self.path}: {topic.name} is a {topic.msgtype}, expected {kinds}; {self._listing()}")
            return topic.name
        fits = [t.name for t in self.topics.values() if t.msgtype in wanted and t.count]
        if len(fits) > 1:
            raise DataError(f"{self.path} has {len(fits)} {kinds} topics: {', '.join(fits)}; name the one to use")
        if not fits:
            raise DataError(f"{self.path} has no {kinds} messages; {self._listing()}")
        return fits[0]

    def records(self, topics: Iterable[str] | None = None, start_ns: int | None = None,
                stop_ns: int | None = None) -> Iterator[Record]:
        """Undecoded messages in order of recording, from `start_ns` up to but without `stop_ns`; all topics if None.

        Raises DataError if a topic is not in the bag, and where the file turns out to be damaged.
        """
        connections = self._connections(topics)
        if not connections:
            return
        try:
            for connection, stamp_ns, raw in self._reader.messages(connections, start=start_ns, stop=stop_ns):
                yield Record(connection.topic, connection.msgtype, stamp_ns, raw)
        except Exception as e:
            # rosbags' readers let struct, zstd and sqlite errors through, and nothing a caller does raises in here
            raise DataError(f"{self.path} is damaged: {_reason(e)}; what was read so far is good, "
                            "for the rest take the bag from its source again") from e

    def messages(self, topics: Iterable[str] | None = None, start_ns: int | None = None,
                 stop_ns: int | None = None) -> Iterator[tuple[str, int, Any]]:
        """`(topic, stamp_ns, message)` in order of recording; arguments and errors as for `records`."""
        for record in self.records(topics, start_ns, stop_ns):
            yield record.topic, record.stamp_ns, self.decode(record)

    def decode(self, record: Record) -> Any:
        """The message of a record, fields as attributes, sequences of numbers as arrays; raises DataError."""
        try:
            return self._reader.deserialize(record.raw, record.msgtype)
        except Exception as e:
            raise DataError(f"{self.path}: a {record.msgtype} on {record.topic}, recorded at {record.stamp_ns} ns, "
                            f"cannot be decoded: {_reason(e)}; is the bag damaged?") from e

    def topic(self, name: str) -> Topic:
        """The topic called `name`, the leading slash left out or not; raises DataError listing those there are."""
        topic = self.topics.get(name) or self.topics.get("/" + name)
        if topic is None:
            raise DataError(f"{self.path} has no topic {name}; {self._listing()}")
        return topic

    def _connections(self, topics: Iterable[str] | None) -> list[Any]:
        if topics is None:
            return list(self._reader.connections)
        names = {self.topic(name).name for name in topics}
        return [c for c in self._reader.connections if c.topic in names]

    def _listing(self) -> str:
        there = ", ".join(f"{t.name} ({t.msgtype}, {t.count})" for t in self.topics.values())
        return f"it has: {there}" if there else "it is empty"


def open_bag(path: Path | str) -> BagReader:
    """Opens a bag for reading, for a `with` statement; raises DataError if it is missing, not a bag, or damaged."""
    return BagReader(path)


def _open_reader(path: Path) -> Any:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore
    if not path.exists():
        raise DataError(f"no bag at {path}: there is no such file or folder")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = sorted(p.name for p in path.iterdir() if p.suffix in (".mcap", ".db3", ".bag"))
        hint = (f"it holds {', '.join(files)}: open that file, or write the metadata again with `ros2 bag reindex`"
                if files else "a rosbag2 is a folder with a metadata.yaml beside its .mcap or .db3 files")
        raise DataError(f"{path} is not a bag: it has no metadata.yaml; {hint}")
    if path.is_file() and path.suffix not in (".mcap", ".db3", ".bag"):
        raise DataError(f"{path} is not a bag: expected a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag file")
    try:
        # bags recorded before Iron carry no message definitions; those of Jazzy are the same for the standard types
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as e:
        raise DataError(f"{path} cannot be opened as a bag: {_reason(e)}; "
                        "it may be damaged or still being recorded") from e
    return reader


def _topic(name: str, connections: list[Any]) -> Topic:
    qos = tuple(q for c in connections for q in getattr(c.ext, "offered_qos_profiles", ()))
    return Topic(name, connections[0].msgtype, sum(c.msgcount for c in connections), qos)


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text if text else type(error).__name__


class BagWriter:
    """Writes a new rosbag2; a context manager. Leaving it by an exception takes the unfinished folder away again.

    `storage`: `mcap` or `sqlite3`. `version`: of the metadata, 9 for Jazzy and later, 8 for Iron and before.
    """

    def __init__(self, path: Path | str, storage: str = "mcap", version: Literal[8, 9] = 9) -> None:
        """Raises DataError if `path` exists already or the storage is unknown."""
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
        self.path = Path(path)
        if storage not in STORAGES:
            raise DataError(f"unknown bag storage {storage!r}; known: {', '.join(STORAGES)}")
        if self.path.exists():
            raise DataError(f"{self.path} exists already and is not overwritten: name another folder, or remove it")
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(self.path, version=version, storage_plugin=StoragePlugin[storage.upper()])
        self._connections: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        try:
            self._writer.open()
        except Exception as e:
            raise DataError(f"cannot write a bag to {self.path}: {_reason(e)}") from e
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            self._writer.__exit__(kind, error, trace)
        except (OSError, sqlite3.Error) as e:
            shutil.rmtree(self.path, ignore_errors=True)
            raise DataError(f"cannot finish the bag {self.path}: {_reason(e)}") from e
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def message(self, msgtype: str, **fields: Any) -> Any:
        """A message of a standard type (Jazzy's definitions); every field has to be given."""
        return self._types.types[msgtype](**fields)

    def add_topic(self, name: str, msgtype: str, latched: bool = False) -> None:
        """Declares a topic, offered reliable: volatile with depth 10, or `latched` (transient local, depth 1)."""
        self._connections[name] = self._writer.add_connection(
            name, msgtype, typestore=self._types, offered_qos_profiles=[_offered(latched)])
        self.counts[name] = 0

    def write(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Appends a message; times have to come in order. Raises DataError if the disk does not take it."""
        connection = self._connections[topic]
        try:
            self._writer.write(connection, stamp_ns, self._types.serialize_cdr(message, connection.msgtype))
        except (OSError, sqlite3.Error) as e:
            raise DataError(f"cannot write to {self.path}: {_reason(e)}") from e
        self.counts[topic] += 1


def _offered(latched: bool) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
    forever = QosTime(9223372036, 854775807)
    return Qos(QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
               forever, forever, QosLiveliness.AUTOMATIC, forever, False)
