# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weighted guesses of where the base is, each a Gaussian over x, y, yaw and forward speed; all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

# Hypotheses this near to each other are one.
MERGE_METRES, MERGE_RADIANS = 2.0, np.deg2rad(10.0)
# Without odometry: what a robot may do to its speed and heading, a second, and how far it slips aside.
PUSH, TURN, SLIP = 2.0, 0.4, 0.1
SPEED_NOISE = 1.0


@dataclass(frozen=True)
class Hypotheses:
    """n of them. `weights` (n,): probability; `poses` (n, 4): x y yaw speed, map frame; `spreads` (n, 4, 4).

    `seen` (n,): nats that the present look has told of each, in `images` (n,) images, since it was at `origins` (n, 3),
    x y yaw. `grounds` (n, 4, 4): `T_map_base` of the view that each was last seen from, whose height and tilt it keeps.
    `shown` (n,) bool: whether the last image spoke for it.
    """

    weights: np.ndarray
    poses: np.ndarray
    spreads: np.ndarray
    seen: np.ndarray
    images: np.ndarray
    origins: np.ndarray
    grounds: np.ndarray
    shown: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def none(cls) -> Hypotheses:
        """No hypothesis at all."""
        return cls(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4, 4)), np.zeros(0), np.zeros(0), np.zeros((0, 3)),
                   np.zeros((0, 4, 4)), np.zeros(0, bool))

    def taken(self, chosen: np.ndarray) -> Hypotheses:
        """Those with these numbers, in that order."""
        return Hypotheses(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def joined(self, others: Hypotheses) -> Hypotheses:
        """Both lists, one after the other."""
        return Hypotheses(*(np.concatenate([getattr(h, f.name) for h in (self, others)]) for f in fields(self)))

    def moved_on(self, metres: float, radians: float) -> Hypotheses:
        """Begins a new look at those that have moved or turned so far; what the last one told of them stays told."""
        off = self.poses[:, :3] - self.origins
        new = (np.hypot(off[:, 0], off[:, 1]) >= metres) | (np.abs(wrapped(off[:, 2])) >= radians)
        return replace(self, seen=np.where(new, 0.0, self.seen), images=np.where(new, 0.0, self.images),
                       origins=np.where(new[:, None], self.poses[:, :3], self.origins))

    def driven(self, move: np.ndarray, covariance: np.ndarray, seconds: float) -> Hypotheses:
        """After a `move` (3,) forward, left, yaw with a `covariance` (3, 3), which took `seconds`."""
        c, s = np.cos(self.poses[:, 2]), np.sin(self.poses[:, 2])
        F, G = _eyes(len(self)), np.zeros((len(self), 4, 3))
        F[:, 0, 2], F[:, 1, 2], F[:, 3, 3] = -s * move[0] - c * move[1], c * move[0] - s * move[1], 0.0
        G[:, 0, 0], G[:, 0, 1], G[:, 1, 0], G[:, 1, 1], G[:, 2, 2] = c, -s, s, c, 1.0
        spreads = F @ self.spreads @ _turned(F) + G @ covariance @ _turned(G)
        spreads[:, 3, 3] += SPEED_NOISE**2
        speed = np.full((len(self), 1), move[0] / seconds if seconds > 0 else 0.0)
        return replace(self, poses=np.hstack([composed(self.poses[:, :3], move), speed]), spreads=spreads)

    def coasted(self, seconds: float) -> Hypotheses:
        """After so many seconds straight on, each at the speed it has; both may have changed meanwhile."""
        c, s, v = np.cos(self.poses[:, 2]), np.sin(self.poses[:, 2]), self.poses[:, 3]
        F = _eyes(len(self))
        F[:, 0, 2], F[:, 1, 2], F[:, 0, 3], F[:, 1, 3] = -s * v * seconds, c * v * seconds, c * seconds, s * seconds
        way = PUSH * seconds**2 / 2 + SLIP * seconds
        noise = np.diag([way, way, TURN * seconds, PUSH * seconds]) ** 2
        poses = self.poses.copy()
        poses[:, 0] += c * v * seconds
        poses[:, 1] += s * v * seconds
        return replace(self, poses=poses, spreads=F @ self.spreads @ _turned(F) + noise)

    def offsets(self, poses: np.ndarray) -> np.ndarray:
        """(n, k, 3) from each hypothesis to each of (k, 3) poses x y yaw, yaw wrapped."""
        off = poses[None] - self.poses[:, None, :3]
        off[..., 2] = wrapped(off[..., 2])
        return off

    def fit(self, off: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(n, k) nats, at most 0: how well sightings (n, k, 3) off with a covariance `noise` (3, 3) suit a hypothesis.

        Measured against a hypothesis as narrow as one sighting: one that may be anywhere does not suit everything.
        """
        S = self.spreads[:, :3, :3] + noise
        distance = np.einsum("nki,nij,nkj->nk", off, np.linalg.inv(S), off)
        wide = np.log(np.linalg.det(S)) - np.log(np.linalg.det(2.0 * noise))
        return np.minimum(-(distance + wide[:, None]) / 2, 0.0)

    def pulled(self, off: np.ndarray, shares: np.ndarray, noise: np.ndarray) -> Hypotheses:
        """Kalman update by all sightings (n, k, 3) off, each for its share (n, k) of being the hypothesis's own.

        `noise`: covariance of a sighting, (3, 3), or (n, 3, 3) for each hypothesis.

        This is probabilistic data association: what the shares leave open widens the covariance.
        """
        S = self.spreads[:, :3, :3] + noise
        K = self.spreads[:, :, :3] @ np.linalg.inv(S)
        mean = np.einsum("nk,nki->ni", shares, off)
        scatter = np.einsum("nk,nki,nkj->nij", shares, off, off) - mean[:, :, None] * mean[:, None, :]
        known = shares.sum(1)[:, None, None]
        spreads = self.spreads - known * (K @ S @ _turned(K)) + K @ scatter @ _turned(K)
        poses = self.poses + np.einsum("nij,nj->ni", K, mean)
        poses[:, 2] = wrapped(poses[:, 2])
        return replace(self, poses=poses, spreads=(spreads + _turned(spreads)) / 2)

    def within(self, metres: float, radians: float, first: int | None = None) -> np.ndarray:
        """(first, n) bool: which hypotheses lie so near to each of the `first` ones; of all, if left out."""
        return near(self.poses[:first, :3], self.poses[:, :3], metres, radians)

    def merged(self) -> Hypotheses:
        """Neighbours become one with the moments of all; the heaviest first."""
        first = self.taken(np.argsort(-self.weights, kind="stable"))
        close = first.within(MERGE_METRES, MERGE_RADIANS)
        head, free = np.arange(len(first)), np.ones(len(first), bool)
        for i in np.flatnonzero(close.sum(1) > 1):
            if free[i]:
                members = close[i] & free
                head[members], free[members] = i, False
        heads, group = np.unique(head, return_inverse=True)
        return first if len(heads) == len(first) else first._together(heads, group)

    def _together(self, heads: np.ndarray, group: np.ndarray) -> Hypotheses:
        """One for each of the `heads`, from all whose `group` (n,) it is."""
        total = np.bincount(group, self.weights)
        share = self.weights / np.maximum(total[group], np.finfo(float).tiny)
        off = self.poses - self.poses[heads][group]
        off[:, 2] = wrapped(off[:, 2])
        mean = _summed(share[:, None] * off, group, len(heads))
        off -= mean[group]
        around = self.spreads + off[:, :, None] * off[:, None, :]
        poses = self.poses[heads] + mean
        poses[:, 2] = wrapped(poses[:, 2])
        return Hypotheses(total, poses, _summed(share[:, None, None] * around, group, len(heads)),
                          _summed(share * self.seen, group, len(heads)), self.images[heads], self.origins[heads],
                          self.grounds[heads],
                          _summed(share * self.shown, group, len(heads)) > 0.5)


def wrapped(angles: np.ndarray) -> np.ndarray:
    """The same angles in [-pi, pi)."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def near(a: np.ndarray, b: np.ndarray, metres: float, radians: float) -> np.ndarray:
    """(n, m) bool: which of (m, 3) poses x y yaw lie so near to each of (n, 3)."""
    x, y, turn = (a[:, None, i] - b[None, :, i] for i in range(3))
    # angles differ by less than `radians` where the cosine does not fall below that of `radians`
    return (x * x + y * y <= metres**2) & (np.cos(turn) >= np.cos(radians))


def composed(poses: np.ndarray, move: np.ndarray) -> np.ndarray:
    """(n, 3) poses x y yaw after a move (3,) forward, left, yaw."""
    c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    return np.stack([poses[:, 0] + c * move[0] - s * move[1], poses[:, 1] + s * move[0] + c * move[1],
                     wrapped(poses[:, 2] + move[2])], axis=1)


def _eyes(n: int) -> np.ndarray:
    return np.tile(np.eye(4), (n, 1, 1))


def _turned(matrices: np.ndarray) -> np.ndarray:
    return matrices.transpose(0, 2, 1)


def _summed(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    out = np.zeros((groups, *values.shape[1:]))
    np.add.at(out, group, values)
    return out
