"""Units that convert into each other. A sum of money and a number of pieces have a bare number's unit: one."""

from __future__ import annotations

from fractions import Fraction

_TABLE: dict[str, dict[str, int | Fraction]] = {
    "time": {
        "s sec second": 1, "min minute": 60, "h hr hour": 3600, "d day": 86_400, "wk week": 604_800,
        "ms millisecond": Fraction(1, 1000),
    },
    "months": {"month": 1, "yr year": 12, "decade": 120, "century": 1200},
    "length": {
        "mm millimeter millimetre": 1, "cm centimeter centimetre": 10, "dm": 100, "m meter metre": 1000,
        "km kilometer kilometre": 1_000_000,
    },
    "feet": {"in inch": 1, "ft foot": 12, "yd yard": 36, "mi mile": 63_360},
    "mass": {"mg milligram": 1, "g gram": 1000, "kg kilogram kilo": 1_000_000, "t ton tonne": 1_000_000_000},
    "pounds": {"oz ounce": 1, "lb": 16},
    "volume": {"ml milliliter millilitre": 1, "cl": 10, "dl": 100, "l liter litre": 1000},
    "cups": {"teaspoon tsp": 1, "tablespoon tbsp": 3, "cup": 48, "pint pt": 96, "quart qt": 192, "gallon gal": 768},
    "money": {
        "cent penny": Fraction(1, 100), "nickel": Fraction(1, 20), "dime": Fraction(1, 10), "quarter": Fraction(1, 4),
        "dollar buck euro pound": 1,
    },
    "count": {"dozen": 12, "pair": 2, "score": 20},
}  # fmt: skip
_IRREGULAR = {"feet": "foot", "inches": "inch", "pennies": "penny", "centuries": "century", "halves": "half"}
_SCALES = {
    word: (dimension, Fraction(factor))
    for dimension, units in _TABLE.items()
    for words, factor in units.items()
    for word in words.split()
}
SHORT = frozenset(word for word in _SCALES if len(word) == 1)
"""Units of one letter, which are variables except where the text leaves no doubt."""


def singular(word: str) -> str:
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _SCALES or len(word) < 3 or not word.endswith("s") or word.endswith("ss"):
        return word
    return word[:-1]


def scale(unit: str) -> tuple[str, Fraction] | None:
    """The dimension of a unit and its size in that dimension's smallest unit; None: it converts into nothing."""
    return _SCALES.get(singular(unit))
