"""Holds the 62 categories of fMoW, in the order of EarthDial's question."""

from __future__ import annotations

QUESTION = (
    r"[hr_rgb_temp_0.5]  <image>  <image> <image> <image> \n Classify the given images in one of "
    r"the following classes. Classes:  {}. \nAnswer in one word or a short phrase. "
)
"""EarthDial's question; backslash and n are two characters there. Source: all 25 rows of
hiyamdebary/EarthDial, src/earthdial/eval/rs_change_detection/results/FMoW.jsonl, 92c1260."""
_LISTED = """
smokestack educational_institution aquaculture zoo storage_tank helipad multi-unit_residential
office_building toll_booth burial_site hospital impoverished_settlement crop_field
ground_transportation_station stadium nuclear_powerplant archaeological_site golf_course
electric_substation waste_disposal debris_or_rubble swimming_pool tunnel_opening solar_farm
fire_station race_track railway_bridge lighthouse car_dealership interchange shipyard
oil_or_gas_facility surface_mine dam police_station port parking_lot_or_garage
single-unit_residential flooded_road place_of_worship road_bridge airport_terminal construction_site
runway prison military_facility barn factory_or_powerplant wind_farm shopping_mall tower
amusement_park park gas_station fountain border_checkpoint water_treatment_facility airport_hangar
lake_or_pond recreational_facility airport space_facility
"""
CATEGORIES: tuple[str, ...] = tuple(_LISTED.split())
