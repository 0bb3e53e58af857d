"""Why a token was computed can be told by its colour: by everybody, in a picture, its legend and on a terminal."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_entropy_ros.draw import COLOURS, NAMES, SIZE, legend, overlay
from vla_entropy_ros.evaluation.records import TickRecord
from vla_entropy_ros.evaluation.view import BAR, FRESH_STYLE, token_bar

APART = 25.0  # in CIELAB, where about 2 can be told side by side
# What is seen of linear RGB without one kind of cone: Machado, Oliveira, Fernandes 2009, severity 1.
EYES = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(colour: tuple[int, int, int], eye: str) -> NDArray[np.float32]:
    """CIELAB [3] of an RGB colour as `eye` sees it."""
    value = np.asarray(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    left = np.clip(np.asarray(EYES[eye]) @ linear, 0.0, 1.0)
    shown = np.where(left <= 0.0031308, 12.92 * left, 1.055 * left ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(shown.astype(np.float32).reshape(1, 1, 3), cv2.COLOR_RGB2LAB).ravel()


@pytest.mark.parametrize("eye", EYES)
def test_the_colours_stay_apart_whatever_cones_an_eye_has(eye: str) -> None:
    labs = {NAMES[code]: seen(colour, eye) for code, colour in COLOURS.items()}
    near = {(a, b): float(np.linalg.norm(labs[a] - labs[b])) for a, b in itertools.combinations(labs, 2)}
    assert {pair: distance for pair, distance in near.items() if distance < APART} == {}


def test_every_code_has_a_name_a_colour_and_a_style_on_a_terminal() -> None:
    assert set(NAMES) == set(COLOURS) | {0} == set(range(7))
    assert set(FRESH_STYLE) == set(COLOURS)
    assert all(len(set(table.values())) == len(table) for table in (NAMES, COLOURS, FRESH_STYLE))


def test_every_code_is_framed_in_its_colour() -> None:
    codes = np.arange(9, dtype=np.uint8).reshape(3, 3) % 7
    drawn = overlay(np.full((30, 30, 3), 120, np.uint8), codes, size=90)
    for code, colour in COLOURS.items():
        row, column = divmod(code, 3)
        assert tuple(drawn[30 * row + 1, 30 * column + 15]) == colour


def test_the_legend_fits_below_one_picture() -> None:
    panel = np.zeros((20, 2 * SIZE, 3), np.uint8)
    legend(panel, 10, 15)
    written = np.flatnonzero(panel.any((0, 2)))
    assert SIZE / 2 < written.max() < SIZE
    shown = {tuple(pixel) for pixel in panel.reshape(-1, 3)}
    assert set(COLOURS.values()) <= shown


def test_the_bar_of_a_terminal_has_a_part_for_every_reason() -> None:
    selection = np.repeat(np.arange(7, dtype=np.uint8), 6).reshape(6, 7)
    bar = token_bar(TickRecord(0.0, {}, selection, 1, np.zeros(3)))
    styles = [span.style for span in bar.spans]
    assert styles == [*FRESH_STYLE.values(), "dim"]
    assert abs(sum(character in "█░" for character in bar.plain) - BAR) <= len(NAMES) / 2
