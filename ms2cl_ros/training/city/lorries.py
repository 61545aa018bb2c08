# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lorries, articulated lorries, buses, trams and trailers. Local frame: front towards +x, centred, wheels on z = 0."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.bodywork import DARK, band, end, lamps, mirror, paint, pane, patch, wheels
from ms2cl_ros.training.city.rods import rod
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import CAR, Soup, Tint, box, loft, merge, place, slab
from ms2cl_ros.training.city.stock import SHARE, mixed
from ms2cl_ros.training.city.two_wheelers import cyclist, motorcyclist
from ms2cl_ros.training.city.vehicles import car, van

LOADS = ("box", "curtain", "flatbed", "tank", "tipper")
_FRAME = (0.03, 0.03, 0.03)


def moving(rng: np.random.Generator, skins: Skins, share: float = SHARE) -> Soup:
    """Whatever comes along a street: mostly cars, some vans, now and then a lorry, a bus or two wheels."""
    stock = skins.stock
    kinds = {
        "car": (0.72, lambda: car(rng, skins, paint(rng))),
        "van": (0.12, lambda: van(rng, skins, paint(rng))),
        "lorry": (0.05, lambda: lorry(rng, skins)),
        "bus": (0.03, lambda: bus(rng, skins)),
        "cyclist": (0.06, lambda: cyclist(rng, skins, rng.uniform(0, 2 * np.pi))),
        "motorcyclist": (0.02, lambda: motorcyclist(rng, skins)),
    }
    cls = str(rng.choice(list(kinds), p=[weight for weight, _ in kinds.values()]))
    return mixed(rng, stock, cls, kinds[cls][1], share)


def lorry(rng: np.random.Generator, skins: Skins, load: str | None = None) -> Soup:
    """A rigid lorry of 6 to 9.5 m; `load`: one of LOADS, None for any."""
    length, half = rng.uniform(6.0, 9.5), rng.uniform(1.1, 1.25)
    n, tint = length / 2, _livery(rng)
    kind = str(rng.choice(LOADS)) if load is None else load
    parts = [place(_cab(rng, skins, half, tint), n, 0), _chassis(-n, n - 1.0, half)]
    parts += _load(rng, skins, kind, -n, n - 1.95, half, 1.0)
    axles = [n - 1.1, -n + 1.5] + ([-n + 2.7] if length > 8 else [])
    return merge([*parts, *wheels(axles, half - 0.02, 0.48, 0.3, arch=False)])


def articulated(rng: np.random.Generator, skins: Skins) -> Soup:
    """A tractor with a semitrailer, 15.5 to 16.5 m."""
    length, half = rng.uniform(15.5, 16.5), 1.25
    n, tint = length / 2, _livery(rng)
    parts = [place(_cab(rng, skins, half, tint, tall=True), n, 0), _chassis(-n, n - 1.0, half)]
    parts += _load(rng, skins, str(rng.choice(LOADS[:4])), -n, n - 2.9, half, 1.15)
    axles = [n - 1.4, n - 4.9, -n + 1.6, -n + 2.9, -n + 4.2]
    legs = [box(n - 6.6, n - 6.4, y - 0.1, y + 0.1, 0.35, 1.1, skins.white, _FRAME, CAR) for y in (-0.8, 0.8)]
    return merge([*parts, *legs, *wheels(axles, half - 0.02, 0.5, 0.32, arch=False)])


def bus(rng: np.random.Generator, skins: Skins) -> Soup:
    """A town bus of 10 to 12 m or an articulated one of 18 m: glass all round, doors on the right side."""
    bendy = rng.random() < 0.25
    length, half, top = 18.0 if bendy else rng.uniform(10.0, 12.2), 1.26, rng.uniform(2.9, 3.15)
    n, tint = length / 2, _livery(rng)
    skirt = np.array([[-n, -half, 0.32], [n, -half, 0.32], [n, half, 0.32], [-n, half, 0.32]])
    roof = skirt * [1, 1, 0] + [0, 0, top - 0.12]
    dome = skirt * [0.985, 0.88, 0] + [0, 0, top]
    parts = [loft(skirt, roof, skins.white, tint, CAR), loft(roof, dome, skins.white, tint, CAR, lid=0, lid_tint=tint)]
    parts.append(pane(end(n, half, 0.32, top), (0.04, 0.96), (0.28, 0.82), skins))
    parts.append(patch(end(n, half, 0.32, top), (0.2, 0.8), (0.86, 0.96), tint=(0.3, 0.2, 0.01)))
    parts.append(pane(end(-n, half, 0.32, top, front=False), (0.1, 0.9), (0.5, 0.85), skins))
    count = round(length / 1.5)
    for y in (-half, half):
        side = band(-n, n, y, 0.32, top)
        parts += [pane(side, ((k + 0.06) / count, (k + 0.94) / count), (0.38, 0.84), skins) for k in range(count)]
        parts.append(patch(side, (0, 1), (0.0, 0.1), tint=DARK, off=0.008))
    right = band(-n, n, -half, 0.32, top)
    for share in (0.93, 0.55, 0.2) if bendy else (0.92, 0.5):
        parts.append(patch(right, (share - 0.55 / n, share + 0.05 / n * 2), (0.02, 0.84), tint=DARK, off=0.014))
        parts.append(patch(right, (share - 0.5 / n, share), (0.06, 0.82), skins.windscreen, off=0.02))
    parts.append(box(-0.6, 0.6, -0.4, 0.4, top, top + 0.25, 0, tint, CAR))
    if bendy:
        parts.append(slab(-0.9, 0.1, -half - 0.03, half + 0.03, 0.4, top + 0.02, skins.white, DARK, CAR))
    parts += lamps(end(n, half, 0.4, 1.0), end(-n, half, 0.5, 1.1, front=False), (0.35, 0.7), 0.16)
    axles = [n - 2.7, -n + 3.3] + ([1.5] if bendy else [])
    return merge([*parts, *wheels(axles, half - 0.01, 0.48, 0.3)])


def tram(rng: np.random.Generator, skins: Skins) -> Soup:
    """A low-floor tram of three to five modules, 22 to 38 m, with a pantograph."""
    modules, half, top = int(rng.choice([3, 5])), 1.2, 3.4
    each, tint = 7.4, _livery(rng)
    n = modules * each / 2
    parts = []
    for k in range(modules):
        x0, x1 = -n + each * k + 0.25, -n + each * (k + 1) - 0.25
        parts.append(slab(x0, x1, -half, half, 0.3, top, skins.white, tint, CAR))
        for y in (-half, half):
            side = band(x0, x1, y, 0.3, top)
            parts += [
                pane(side, ((j + 0.05) / 4, (j + 0.95) / 4), (0.32 if j % 2 else 0.05, 0.85), skins) for j in range(4)
            ]
        parts.append(box(x0 + 1.5, x1 - 1.5, -0.8, 0.8, top, top + 0.3, skins.white, (0.3, 0.3, 0.3), CAR))
        if k:
            parts.append(slab(x0 - 0.5, x0, -half + 0.1, half - 0.1, 0.4, top - 0.1, skins.white, DARK, CAR))
        parts.append(box(x0 + 2.2, x1 - 2.2, -0.9, 0.9, 0, 0.3, skins.white, _FRAME, CAR))
    for front in (True, False):
        x = n - 0.25 if front else -n + 0.25
        face = end(x, half, 0.3, top, front)
        parts += [pane(face, (0.06, 0.94), (0.35, 0.85), skins), patch(face, (0.25, 0.75), (0.88, 0.96), tint=DARK)]
    parts += lamps(end(n - 0.25, half, 0.4, 1.2), end(-n + 0.25, half, 0.4, 1.2, front=False), (0.4, 0.75), 0.16)
    arm = [rod((0, y, top + 0.3), (0.7, y, top + 0.9), 0.03, tint=_FRAME, sides=4) for y in (-0.4, 0.4)]
    arm += [rod((0.7, y, top + 0.9), (0, y, top + 1.6), 0.03, tint=_FRAME, sides=4) for y in (-0.3, 0.3)]
    return merge([*parts, *arm, rod((0, -0.9, top + 1.6), (0, 0.9, top + 1.6), 0.03, tint=_FRAME, sides=4)])


def trailer(rng: np.random.Generator, skins: Skins) -> Soup:
    """A car's trailer or a caravan, parked."""
    if rng.random() < 0.5:
        tint = np.full(3, rng.uniform(0.5, 0.75))
        body = slab(-2.4, 2.3, -1.05, 1.05, 0.45, 2.5, skins.white, tint, CAR)
        parts = [body, rod((2.3, 0, 0.45), (3.4, 0, 0.45), 0.05, tint=_FRAME, material=CAR)]
        parts += [
            pane(band(-2.4, 2.3, y, 0.45, 2.5), a, (0.4, 0.78), skins)
            for y in (-1.05, 1.05)
            for a in ((0.1, 0.35), (0.6, 0.9))
        ]
        parts.append(pane(end(2.3, 1.05, 0.45, 2.5), (0.12, 0.88), (0.45, 0.8), skins))
        return merge(
            [*parts, *wheels([-0.2], 1.03, 0.32), rod((3.3, 0, 0), (3.3, 0, 0.45), 0.04, tint=_FRAME, material=CAR)]
        )
    parts = [slab(-1.2, 1.1, -0.72, 0.72, 0.5, 0.58, skins.white, _FRAME, CAR)]
    parts += [slab(-1.2, 1.1, y - 0.02, y + 0.02, 0.58, 0.95, skins.white, (0.4, 0.4, 0.41), CAR) for y in (-0.7, 0.7)]
    parts += [
        slab(x - 0.02, x + 0.02, -0.7, 0.7, 0.58, 0.95, skins.white, (0.4, 0.4, 0.41), CAR) for x in (-1.18, 1.08)
    ]
    parts.append(rod((1.1, 0, 0.53), (2.2, 0, 0.47), 0.04, tint=_FRAME, material=CAR))
    parts.append(rod((2.0, 0, 0), (2.0, 0, 0.5), 0.035, tint=_FRAME, material=CAR))
    return merge([*parts, *wheels([-0.15], 0.86, 0.29, 0.16, arch=False)])


def _livery(rng: np.random.Generator) -> np.ndarray:
    return np.full(3, rng.uniform(0.5, 0.75)) if rng.random() < 0.45 else rng.uniform(0.03, 0.6, 3) ** 1.3


def _cab(rng: np.random.Generator, skins: Skins, half: float, tint: np.ndarray, tall: bool = False) -> Soup:
    """A cab over the engine whose front is at x = 0."""
    back, top = (-2.2, 3.6) if tall else (-1.75, rng.uniform(2.6, 2.95))
    foot = np.array([[back, -half, 0.45], [-0.02, -half, 0.45], [-0.02, half, 0.45], [back, half, 0.45]])
    waist = foot * [1, 1, 0] + [0.02, 0, 1.5]
    crown = np.array([[back, -half, top], [-0.35, -half + 0.05, top], [-0.35, half - 0.05, top], [back, half, top]])
    front = np.stack([waist[1], waist[2], crown[2], crown[1]])
    reach = (0.08, 0.55 if tall else 0.85)
    parts = [
        loft(foot, waist, skins.white, tint, CAR),
        loft(waist, crown, skins.white, tint, CAR, lid=0, lid_tint=tint),
        pane(front, (0.05, 0.95), reach, skins),
        patch(end(0.0, half, 0.45, 1.5), (0.05, 0.95), (0.5, 0.9), tint=DARK),
        box(-0.3, 0.05, -half, half, 0.3, 0.6, skins.white, DARK, CAR),
    ]
    for y in (-half, half):
        side = band(-1.25, -0.3, y, 1.5, 2.4)
        parts.append(pane(side, (0.05, 0.95), (0.1, 0.95), skins))
        parts.append(mirror(-0.35, -0.15, y, (1.03, 1.16), (1.7, 2.3)))
    plates = lamps(end(0.06, half, 0.3, 1.0), end(back, half, 0.5, 1.0, front=False), (0.25, 0.6), 0.2)
    return merge([*parts, *plates])


def _chassis(x0: float, x1: float, half: float) -> Soup:
    tail = box(x0 - 0.02, x0 + 0.08, -half + 0.1, half - 0.1, 0.5, 0.7, 0, (0.3, 0.01, 0.01), CAR)
    return merge([slab(x0, x1, -0.5, 0.5, 0.6, 0.95, 0, _FRAME, CAR), tail])


def _load(
    rng: np.random.Generator, skins: Skins, kind: str, x0: float, x1: float, half: float, floor: float
) -> list[Soup]:
    """What stands behind the cab, from `x0` to `x1`, on the height `floor`."""
    deck = slab(x0, x1, -half, half, floor - 0.12, floor, skins.white, _FRAME, CAR)
    if kind in ("box", "curtain"):
        top, tint = rng.uniform(3.0, 3.9), _livery(rng)
        sides_tint: Tint = tint if kind == "curtain" else np.full(3, 0.7)
        parts = [deck, box(x0, x1, -half, half, floor, top, skins.white, sides_tint, CAR)]
        stripe = (rng.uniform(0.1, 0.3), rng.uniform(0.6, 0.9))
        parts += [
            patch(band(x0, x1, y, floor, top), stripe, (0.35, 0.7), tint=rng.uniform(0.02, 0.6, 3))
            for y in (-half, half)
        ]
        return parts
    if kind == "tank":
        middle, radius = floor + 1.0, 0.98
        hull = rod(
            (x0, 0, middle),
            (x1, 0, middle),
            radius,
            texture=0,
            tint=np.full(3, rng.uniform(0.3, 0.7)),
            material=CAR,
            sides=12,
        )
        return [deck, hull]
    sides = 0.55 if kind == "flatbed" else 1.3
    tint = _livery(rng)
    parts = [deck]
    parts += [slab(x0, x1, y - 0.03, y + 0.03, floor, floor + sides, skins.white, tint, CAR) for y in (-half, half)]
    parts += [slab(x - 0.03, x + 0.03, -half, half, floor, floor + sides, skins.white, tint, CAR) for x in (x0, x1)]
    if rng.random() < 0.6:
        base = floor + 0.6 * sides
        heap = np.array([[x0, -half, base], [x1, -half, base], [x1, half, base], [x0, half, base]])
        crest = heap * [0.35, 0.3, 1] + np.array([(x0 + x1) / 2 * 0.65, 0, 0.5])
        parts.append(loft(heap, crest, 0, (0.2, 0.16, 0.1), lid=0, lid_tint=(0.2, 0.16, 0.1)))
    return parts
