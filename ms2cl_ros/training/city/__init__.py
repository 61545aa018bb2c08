# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A street that exists only as triangles, in which a camera and a LiDAR see the same geometry.

A seed gives a block of houses with a road round it (`routes`, `plan`), which is furnished with what the other files
draw: `houses`, `plants`, `furniture`, `vehicles`, `ground`, covered with painted `textures` (`painters`, `skins`).
`street.build_street` puts it together as one `soup` of triangles; nothing is downloaded and nothing is photographed.
`scene` traces rays through it with Embree, for the `camera` and for the `lidar` alike: a leaf that hides a window in
the picture stops the beam as well. `drive.synthesize` goes round the block, first with the LiDAR, then, on another day,
a few decimetres aside and with other cars parked, with the camera, and writes both as KITTI raw recordings:

    from ms2cl_ros.training.city.drive import synthesize
    synthesize(Path("street"), seed=1)

All randomness comes from the seed: the same seed writes the same bytes.
"""
