# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A city that exists only as triangles, in which a camera and a LiDAR see the same geometry.

A `recipe` names a route: a made one (`routes`) or that of a pose file. What is driven twice becomes one road
(`merging`), roads meet in junctions (`network`), go on and branch (`streets`), and pass through `districts`. The `plan`
divides their sides into stretches, and the `site` fills these in turn: `ground`, `frontage` (rows, villas,
parks, works, ...), `greenery`, `kerbside`, `background`, `horizon`, with what `houses`, `plants`, `furniture`,
`vehicles` and their like draw, covered with painted `textures` (`painters`, `skins`) or, if folders of them are named,
photographs and meshes (`catalogue`, `stock`). `city.build_city` puts it together; `City.scene` gives what stands near a
place on a day (`days`), `city.movers` what moves there at a second (`traffic`).

`scene` traces rays through it with Embree, for the `camera` and for the `lidar` alike: a leaf that hides a window in
the picture stops the beam as well. `drive.synthesize` drives along the route, first with the LiDAR, then, on another
day, a few decimetres aside and with other cars parked, with the camera, and writes both as KITTI raw recordings:

    from ms2cl_ros.training.city.drive import synthesize
    synthesize(Path("street"), seed=1)

All randomness comes from the seed: the same seed writes the same bytes.
"""
