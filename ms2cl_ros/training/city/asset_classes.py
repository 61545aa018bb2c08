# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is worth taking from the data packages of FlightGear and TORCS, and what each of it is.

Chosen by looking: left out are airfields, landmarks, whole quarters, what is plain white and what has light cones.
"""

from __future__ import annotations

from dataclasses import dataclass

from ms2cl_ros.training.city.soup import CAR, LEAF, PLAIN, SIGN

VEHICLE, BUILDING, ROW, SOLITARY, ARM, UPRIGHT = "vehicle", "building", "row", "solitary", "arm", "upright"


@dataclass(frozen=True)
class Kind:
    """A class of meshes. `stance`: how one is put into its local frame; `low`, `high`: metres along x, y, z that are
    believed; `triangles`: more than that is left out; `cell`: vertices nearer than that (metres) are merged."""

    stance: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    material: int = PLAIN
    triangles: int = 3200
    cutout: bool = False
    cell: float = 0.0


KINDS = {
    "car": Kind(VEHICLE, (3.4, 1.5, 1.2), (5.2, 2.45, 2.15), CAR, cell=0.02),
    "van": Kind(VEHICLE, (4.4, 1.6, 1.7), (6.6, 2.7, 2.9), CAR, cell=0.02),
    "lorry": Kind(VEHICLE, (5.5, 2.1, 2.4), (17.0, 3.5, 4.6), CAR, cell=0.02),
    "bus": Kind(VEHICLE, (8.0, 2.2, 2.5), (18.8, 3.2, 5.0), CAR),
    "tram": Kind(VEHICLE, (15.0, 2.2, 3.0), (30.0, 3.2, 4.9), CAR, 4500),
    "container": Kind(VEHICLE, (5.5, 2.0, 1.8), (14.6, 3.0, 3.1), CAR),
    "house": Kind(BUILDING, (7.0, 5.0, 3.5), (24.0, 19.0, 14.0)),
    "block": Kind(BUILDING, (12.0, 7.0, 9.0), (62.0, 36.0, 42.0)),
    "shop": Kind(BUILDING, (5.0, 4.0, 3.0), (56.0, 26.0, 17.0)),
    "hall": Kind(BUILDING, (9.0, 8.0, 3.0), (67.0, 36.0, 21.0)),
    "church": Kind(BUILDING, (6.0, 5.0, 8.0), (68.0, 45.0, 52.0)),
    "shed": Kind(BUILDING, (3.5, 2.8, 2.2), (9.0, 7.0, 4.5)),
    "fence": Kind(ROW, (1.9, 0.0, 0.9), (20.2, 1.0, 3.2), LEAF, cutout=True),
    "wall": Kind(ROW, (3.9, 0.0, 0.8), (20.2, 0.9, 3.8)),
    "barrier": Kind(ROW, (1.0, 0.0, 0.8), (6.0, 0.6, 1.5), cutout=True),
    "tree": Kind(SOLITARY, (2.4, 0.0, 2.4), (17.0, 17.0, 23.0), LEAF, cutout=True),
    "lamp": Kind(ARM, (0.2, 0.1, 4.0), (4.5, 4.5, 9.0)),
    "sign": Kind(SOLITARY, (0.05, 0.05, 1.5), (1.5, 1.5, 4.5), SIGN),
    "bus_stop": Kind(ROW, (2.5, 1.0, 2.2), (6.5, 3.0, 3.2)),
    "bin": Kind(SOLITARY, (0.3, 0.3, 0.6), (6.0, 2.6, 3.7), cell=0.03),
    "bollard": Kind(SOLITARY, (0.2, 0.2, 0.4), (0.8, 0.8, 1.3), cell=0.02),
    "bench": Kind(ROW, (1.4, 0.5, 0.6), (3.6, 2.2, 2.4), cell=0.02),
    "person": Kind(UPRIGHT, (0.2, 0.2, 1.5), (1.0, 1.0, 2.05), PLAIN, 6000, cell=0.035),
}

_MODELS = "flightgear/Scenery/Models/"
_MESHES = {
    ("car", _MODELS + "Transport"): "VWJetta_S1 VWPassat_S1 bmw3silver hatchback_black hatchback_blue hatchback_green"
    " hatchback_red hatchback_silver hondacrvblack hondacrvred hondacrvsilver mazda_wagontaxi tcamryblack"
    " tcamryblue tcamryred tcamrysilver volvoxc90s1 voyager1 vwgolfsilver camaroblack camaroblue camarored",
    ("van", _MODELS + "Transport"): "van-blue-muc van_blue_dirty van_red van_silver vantransitwhite1 vanwhite vanwhite1"
    " vanyellow1 minibusblue1 minibusgreen1 minibuswhite1 dodgeramblue dodgeramgreen dodgeramred dodgeramwhite"
    " pickupblue pickupred1 pickupwhite pickupwhite1",
    ("lorry", _MODELS + "Transport"): "boxtruckusps comtruckwhite1 BlueContainerTruck DPostTruck"
    " CCS_catering_truck mxvtftrboxfedtruck mxvtftrwhshort consdumptruck1 gr_paramedic1 fedextrailer whitetrailer",
    ("bus", _MODELS + "Transport"): "110Bus bus-ba bus-muc bus_bi-ba bussmallwhite tourbus1",
    ("tram", _MODELS + "Transport"): "Manchester_MetrolinkTram ICE3middlecar lner-teak-first-class-coach",
    ("container", _MODELS + "Transport"): "container_20ft_ISO container_40ft_ISO containsingle20ftblue"
    " containsingle20ftgreen containsingle20ftred containsingle20ftyellow containsingle40ftblue containsingle40ftred"
    " containersinglered kontener_bialy storage_container_20ft_blue storage_container_20ft_orange"
    " garbagecontainerblue garbagecontainerred garbagecontainerrusty",
    ("house", _MODELS + "Residential"): "French_House GenericOmahaHouse Laundry_10x9 Quadplex_18x18 VQPR_H1NORM"
    " canary_house1 canary_house3 french_house_c french_house_n french_house_s french_house_w germansemidetached1"
    " germansemidetached2 germanvillagehouse1 germanvillagehouse2 germanvillagehouse3 smallhouse_sweden admin",
    ("block", _MODELS + "Residential"): "ad1 ad2 cube-apartment eurobuilding2 european_school flogsta_uppsala hr20x20"
    " hr40x10 medium-apartment immeuble1 ResidentialTower_DDklotzsche",
    ("shop", _MODELS + "Commercial"): "store1 SGC_office bank-building small-modern-office OfficeBuilding74x18m"
    " medium-glass-office-building small-glass-office-building",
    ("hall", _MODELS + "Industrial"): "Schenker_storehouse35x30 Schenker_storehouse66x30 Storage_30x12 PAJN_fact1"
    " Workshop_SideDoor_20x18m shed warehouse bond-warehouse",
    ("church", _MODELS + "Misc"): "big-church gothical_church roman_church kirkko generic_cathedral",
    ("shed", _MODELS + "Industrial"): "garage_blue garage_brown",
    ("shed", _MODELS + "Power"): "transf1 old_trafo",
    ("fence", _MODELS + "Boundaries"): "Fence-2m-grayBW Fence-2m-green Fence-10m-grayBW Fence-10m-green Fence_6m"
    " Fence_12m Cloture_1poteau_2500_2030_5 Cloture_1poteau_5000_2030_5 Cloture_1poteau_10000_2030_5"
    " 10M_Fence_Origin_far_left lflg-fence_20m Gate_4.5m lflg-portal",
    ("wall", _MODELS + "Boundaries"): "wall4m-BrickOld wall10m-BrickOld wall15m-BrickOld redwhite_concrete_20m"
    " Gen_Wall_Fence16m",
    ("barrier", _MODELS + "StreetFurniture"): "metal-barrier",
    ("barrier", _MODELS + "Boundaries"): "CrowdBarrier",
    ("tree", _MODELS + "Trees"): "beech33 buk1 buk3 coniferous-tree coniferous-tree2 coniferous-tree3"
    " deciduous-tree2 deciduous-tree3 large_tree_erected lipa lipa_large pinus_negra pinus_pinea"
    " platanus_acerifolia_15m platanus_hispanica6m platanus_hispanica8m populus-tree populus-tree2 tilleul"
    " cupressus-arizonica-glauca",
    ("lamp", _MODELS + "StreetFurniture"): "Streetlamp1 Streetlamp2 Streetlamp3 angled-light-pole",
    ("lamp", _MODELS + "Misc"): "stmartin_lamp",
    ("sign", _MODELS + "StreetFurniture"): "Stop-Sign",
    ("bus_stop", _MODELS + "StreetFurniture"): "Bus_Shelter bus_stop",
    ("bin", _MODELS + "StreetFurniture"): "Litter_Bin trash-container trashbin bigtrashbox Pillar_Box Red_Phone_Box",
    ("bin", _MODELS + "Misc"): "ppotty2",
    ("bollard", _MODELS + "StreetFurniture"): "bollard_EPCD cone ConeRedWhite EDDI-cone",
    ("bench", _MODELS + "Misc"): "parkbench1 picnictablegreen1 picnic_table",
    ("person", _MODELS + "Misc"): "manjacket1 manshirt1 manshirt2 mansuit1 woman2 woman3 woman4 worker1 worker2",
}
# Found on the contact sheet: these look towards -x once their longer side lies along x.
_BACKWARDS = (
    "dodgeramblue dodgeramgreen dodgeramred dodgeramwhite pickupblue pickupred1 pickupwhite pickupwhite1 vanyellow1"
    " consdumptruck1"
)
BACKWARDS = frozenset(_BACKWARDS.split())

# rows : columns of the atlas (texels), storeys, class
_ATLAS = "flightgear/Textures/osm2city/atlas_facades.png"
_FRONTS = """
5122:5375 0:256 9 office; 5379:5630 0:128 8 office; 5379:5630 128:256 9 office; 5634:5885 128:256 9 office;
5889:6142 128:256 7 office; 6146:6397 0:128 7 house; 6146:6270 128:256 5 office; 6274:6397 128:192 5 house;
6274:6397 192:256 5 house; 6405:6498 0:256 5 office; 6510:6631 0:128 4 office; 6514:6570 128:256 3 house;
6574:6761 128:256 5 house; 6639:6761 0:128 4 house; 6769:6887 0:256 4 house; 6892:7016 0:256 3 house;
7024:7076 0:256 1 hall; 7089:7136 0:256 2 hall; 7217:7271 0:256 2 hall; 7279:7339 0:256 2 hall; 7346:7399 0:256 2 hall;
7406:7657 0:128 5 office; 7410:7526 128:256 4 house; 7534:7657 128:256 3 house; 7665:7783 0:128 3 house;
7791:7837 0:256 1 hall; 7845:7999 0:256 3 house; 8005:8074 0:256 1 shop; 8080:8145 0:256 1 shop;
8194:8303 0:256 1.5 house; 8367:8535 0:256 2 house; 8543:8664 0:256 2 house; 8732:9199 0:256 12 office;
9529:9777 0:256 7 office; 9784:9972 0:256 3 hall; 9983:10215 0:256 4 house; 10246:10482 0:256 4 house;
11015:11144 0:256 3 office; 11153:11288 0:256 4 office; 11302:11545 0:256 8 office; 11553:11875 0:256 9 house;
11883:12134 0:256 5 house; 12144:12260 0:256 4 house; 12290:12526 0:256 4 office; 12545:12667 0:256 4 house;
12674:12849 0:256 5 office; 12856:13205 0:256 8 office; 13218:13342 0:256 3 house; 13352:13593 0:256 5 office;
13603:13929 0:256 10 office; 13987:14330 0:256 13 office; 14353:14825 0:256 14 office; 14833:14930 0:256 1 hall;
14940:14996 0:256 1 hall; 15006:15234 0:256 6 house; 15242:15414 0:256 2 house; 15422:15534 0:256 3 house;
15542:15692 0:256 2 house; 15703:15921 0:256 4 house; 15930:16088 0:256 2 house; 16097:16215 0:256 2 house
"""
_ROOFS = range(0, 6)
_STOREY, _PLINTH = 3.05, 0.5

# class, metres across, files below a package's root
_SHEETS = (
    ("grass", 6.0, "flightgear/Textures/Terrain", "grass.png grass_hires.png airport-grass-summer.png grass_dry2.png"),
    ("grass", 6.0, "torcs/data/textures", "tr-grass.rgb tr-grass3.rgb tr-grass6.rgb"),
    ("asphalt", 8.0, "flightgear/Textures/Terrain", "asphalt.png dark_gravel.png"),
    ("asphalt", 8.0, "torcs/data/textures", "tr-asphalt.rgb tr-road1.rgb tr-concrete.rgb"),
    ("earth", 5.0, "flightgear/Textures/Terrain", "gravel_gray.png gravel_brown.png dirtrock.png"),
    ("earth", 5.0, "torcs/data/textures", "tr-sand.rgb tr-dirt.rgb tr-gravel.rgb"),
    ("snow", 12.0, "flightgear/Textures/Terrain", "snow1.png"),
    ("masonry", 2.5, "torcs/data/textures", "rock2.rgb concrete.rgb"),
    ("masonry", 2.5, "torcs/tracks/oval/michigan", "wall4.rgb"),
)
# file, cells across, cells down, row taken, cells used: crowns become leaf cards
_TREES = (
    ("leaf", "flightgear/Textures/Trees/deciduous-alt.png", 8, 4, 3, 8),
    ("needle", "flightgear/Textures/Trees/coniferous-alt.png", 8, 4, 3, 8),
)
_AUTUMN_TREES = "tree3 tree4 tree5 tree7 tree8 tree9"


@dataclass(frozen=True)
class Cut:
    """A picture. `box`: left, top, right, bottom as shares of the sheet, 0 to 1; `size`: metres; `storeys`: 0 for
    what is no front."""

    cls: str
    path: str
    box: tuple[float, float, float, float]
    size: tuple[float, float]
    storeys: float = 0.0


def meshes() -> list[tuple[str, str]]:
    """(class, path below the folder that holds flightgear/ and torcs/) of every mesh worth taking."""
    return [(cls, f"{folder}/{name}.ac") for (cls, folder), names in _MESHES.items() for name in names.split()]


def cuts() -> list[Cut]:
    """Every photograph worth taking: fronts and roofs of the atlas, ground, walls, leaf cards."""
    out = [_front(item) for item in _FRONTS.replace("\n", " ").split(";")]
    for k in _ROOFS:
        y = (k * 127.5 + 8) / 16384
        out.append(Cut("roof", _ATLAS, (0.0, y, 1.0, y + 108 / 16384), (7.5, 3.2)))
    for cls, metres, folder, names in _SHEETS:
        out += [Cut(cls, f"{folder}/{name}", (0.0, 0.0, 1.0, 1.0), (metres, metres)) for name in names.split()]
    for cls, path, across, down, row, cells in _TREES:
        for k in range(cells):
            left, top = k / across, row / down
            crown = (left + 0.22 / across, top + 0.28 / down, left + 0.78 / across, top + 0.68 / down)
            out.append(Cut(cls, path, crown, (1.5, 1.5)))
    for name in _AUTUMN_TREES.split():
        out.append(Cut("leaf_autumn", f"torcs/data/textures/{name}.rgb", (0.2, 0.12, 0.8, 0.66), (1.5, 1.5)))
    return out


def _front(item: str) -> Cut:
    rows, columns, storeys, use = item.split()
    y0, y1, x0, x1 = (int(v) for v in (*rows.split(":"), *columns.split(":")))
    height = float(storeys) * _STOREY + _PLINTH
    return Cut(
        "facade" if use == "house" else f"facade_{use}",
        _ATLAS,
        (x0 / 256, y0 / 16384, x1 / 256, y1 / 16384),
        (height * (x1 - x0) / (y1 - y0), height),
        float(storeys),
    )
