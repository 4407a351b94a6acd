"""How often the readers of sums, final answers and schemas disagree with a referee, on 300 made inputs each.

    python -m scripts.referee_answers [sums] [marks] [schemas]

Sums are made from trees whose value Python's fractions know, written in the ways of prose and LaTeX, half of them with
a wrong result. Pairs of answers are made from SymPy expressions, of which SymPy says whether they are equal. Schemas
and values are judged by jsonschema itself, with multiples and patterns worked out here. docs/rewards.md has the counts.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from smc_decode.potentials.base import Prefix

COUNT = 300
Pair = tuple[str, bool]


def prefix(text: str) -> Prefix:
    return Prefix(tuple(map(ord, text)), True, decode=lambda ids: "".join(map(chr, ids)))


# -- sums --


def number(value: Fraction, style: random.Random) -> str:
    """A number in one of its usual writings."""
    if value.denominator == 1:
        digits = str(abs(value.numerator))
        if len(digits) > 3:
            digits = style.choice([digits, f"{abs(value.numerator):,}", f"{abs(value.numerator):,}".replace(",", " ")])
        return ("-" if value < 0 else "") + digits
    return f"{float(value):g}"


def sums(seed: random.Random) -> Iterator[Pair]:
    """Claims and whether they are true."""
    writers: list[Callable[[str, str], str]] = [
        lambda left, right: f"{left} = {right}",
        lambda left, right: f"So we get {left} = {right} in all.",
        lambda left, right: f"**{left} = {right}**",
        lambda left, right: f"{left} = **{right}**",
        lambda left, right: f"- Step 2: {left} = {right}.",
        lambda left, right: f"${_latex(left)} = {_latex(right)}$",
        lambda left, right: f"\\[ {_latex(left)} \\;=\\; \\boxed{{{_latex(right)}}} \\]",
        lambda left, right: f"{left} equals {right}",
        lambda left, right: f"\\( {_latex(left)} = {_latex(right)} \\text{{ apples}} \\)",
    ]
    while True:
        left, value = seed.choice(SIDES)(seed)
        true = seed.random() < 0.5
        shown = value if true else value + seed.choice([-10, -2, -1, 1, 2, 7])
        yield seed.choice(writers)(left, number(shown, seed)), true


def _latex(text: str) -> str:
    text = text.replace("%", "\\%").replace("*", "\\times").replace("×", "\\cdot").replace("÷", "\\div")
    return re.sub(r"√(\d+)", r"\\sqrt{\1}", text).replace(" of ", " \\text{ of } ").replace(" mod ", " \\bmod ")


def _chain(seed: random.Random) -> tuple[str, Fraction]:
    numbers = [seed.randint(1, 2000) for _ in range(seed.randint(2, 4))]
    text, value = str(numbers[0]), Fraction(numbers[0])
    for each in numbers[1:]:
        sign = seed.choice("+-")
        text += f" {sign} {each}"
        value += each if sign == "+" else -each
    return text, value


def _product(seed: random.Random) -> tuple[str, Fraction]:
    a, b, c = (seed.randint(2, 60) for _ in range(3))
    return f"{a} {seed.choice('*×')} {b} + {c}", Fraction(a * b + c)


def _division(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(2, 90), seed.randint(2, 30)
    return f"{a * b} {seed.choice('/÷')} {b}", Fraction(a)


def _brackets(seed: random.Random) -> tuple[str, Fraction]:
    a, b, c = (seed.randint(2, 40) for _ in range(3))
    return seed.choice([f"({a} + {b}) * {c}", f"[{a} + {b}] * {c}", f"{c}({a} + {b})"]), Fraction((a + b) * c)


def _power(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(2, 20), seed.randint(2, 9)
    return seed.choice([f"{a}^2 + {b}", f"{a}² + {b}"]), Fraction(a * a + b)


def _root(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(2, 25), seed.randint(2, 50)
    return f"√{a * a} + {b}", Fraction(a + b)


def _percent(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.choice([5, 10, 20, 25, 50]), seed.randint(2, 30) * 20
    return f"{a}% of {b}", Fraction(a * b, 100)


def _modulo(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(20, 300), seed.randint(3, 19)
    return f"{a} mod {b}", Fraction(a % b)


def _factorial(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(2, 6), seed.randint(1, 40)
    return f"{a}! + {b}", Fraction([1, 1, 2, 6, 24, 120, 720][a] + b)


def _series(seed: random.Random) -> tuple[str, Fraction]:
    step, count = seed.randint(1, 5), seed.randint(5, 40)
    return f"{step} + {2 * step} + ... + {count * step}", Fraction(step * count * (count + 1), 2)


def _units(seed: random.Random) -> tuple[str, Fraction]:
    a, b = seed.randint(2, 90), seed.randint(2, 90)
    word = seed.choice(["apples", "dollars", "cm", "pages", "red balls"])
    return f"{a} {word} + {b} {word}", Fraction(a + b)


SIDES = [
    _chain, _product, _division, _brackets, _power, _root, _percent, _modulo, _factorial, _series, _units,
]  # fmt: skip


async def judge_sums() -> list[str]:
    from smc_decode.potentials.mathematics.arithmetic import Arithmetic
    from smc_decode.workers.pool import default_workers

    seed = random.Random(19)
    source = Arithmetic(default_workers())
    wrong = []
    made = sums(seed)
    for _ in range(COUNT):
        text, true = next(made)
        detail = (await source.rewards([prefix(text)]))[0].detail
        seen = detail["total"] > 0 and (detail["held"] == detail["total"]) == true
        if not seen:
            wrong.append(f"{text!r} is {true}: {dict(detail)}")
    return wrong


# -- marks --


def marks(seed: random.Random) -> Iterator[tuple[str, str, bool]]:
    """Pairs of answers, and whether SymPy finds them equal."""
    import sympy

    x = sympy.Symbol("x")
    while True:
        a, b, c = (sympy.Integer(seed.randint(1, 12)) for _ in range(3))
        first = seed.choice(
            [
                a / b,
                sympy.sqrt(a * b),
                a + b * sympy.sqrt(c),
                a * sympy.pi / b,
                a * x**2 + b * x,
                (x + a) * (x - b),
                a + b * sympy.I,
            ]
        )
        second = seed.choice(
            [first, sympy.expand(first), first + seed.choice([0, 0, 1, -1]), first * seed.choice([1, 1, 2])]
        )
        equal = sympy.simplify(first - second) == 0
        yield _written(sympy.latex(first), seed), _written(sympy.latex(second), seed), bool(equal)


def _written(latex: str, seed: random.Random) -> str:
    ways: list[Callable[[str], str]] = [
        lambda text: text,
        lambda text: text.replace("\\frac", "\\dfrac"),
        lambda text: re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text),
        lambda text: f"${text}$.",
        lambda text: f"x = {text}" if "x" not in text else text,
        lambda text: text + ("\\text{ units}" if "x" not in text else ""),
        lambda text: text.replace("\\pi", "π"),
        lambda text: text.replace(" ", "~"),
    ]
    return seed.choice(ways)(latex)


async def judge_marks() -> list[str]:
    from benchmarks.marking import equal

    seed = random.Random(19)
    made = marks(seed)
    wrong = []
    for _ in range(COUNT):
        first, second, same = next(made)
        try:
            found = equal(first, second)
        except Exception as error:
            found = type(error).__name__
        if found is not same:
            wrong.append(f"{first!r} and {second!r}: {same}, found {found}")
    return wrong


# -- schemas --


def schemas(seed: random.Random) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Schemas, answers, and whether the answer is JSON that meets the schema."""
    while True:
        schema, value, meets = seed.choice(RULES)(seed)
        text = json.dumps(value, ensure_ascii=False)
        yield schema, seed.choice(WRAPS)(text), meets


WRAPS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"Here it is:\n\n```json\n{text}\n```\nRun it with\n\n```sh\nls\n```",
    lambda text: f"<think>\n```\nno\n```\n</think>\n```\n{text}\n```",
    lambda text: f"```json\n{text}```",
    lambda text: f"1. Result:\n\n   ```json\n   {text}\n   ```",
]


def _multiple(seed: random.Random) -> tuple[dict[str, Any], Any, bool]:
    step = seed.choice(["0.01", "0.1", "0.25", "3", "1.1"])
    value = Fraction(step) * seed.randint(1, 4000) + seed.choice([0, 0, Fraction(1, 1000)])
    return {"multipleOf": json.loads(step)}, float(value), (value / Fraction(step)).denominator == 1


def _letters(seed: random.Random) -> tuple[dict[str, Any], Any, bool]:
    word = seed.choice(["Ann", "élan", "Émile", "1st", "ZOË", "Ünal", "été"])
    return {"type": "string", "pattern": "^\\p{Lu}"}, word, word[0].isupper()


def _plain(seed: random.Random) -> tuple[dict[str, Any], Any, bool]:
    from jsonschema import Draft202012Validator

    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer", "minimum": 0}},
        "additionalProperties": seed.random() < 0.5,
    }
    value = {key: seed.choice(["Ann", "Annabel", 3, -2, None]) for key in seed.sample(["name", "age", "size"], 2)}
    return schema, value, Draft202012Validator(schema).is_valid(value)


def _dates(seed: random.Random) -> tuple[dict[str, Any], Any, bool]:
    text, good = seed.choice([("2024-02-29", True), ("2023-02-29", False), ("tomorrow", False), ("1999-12-31", True)])
    return {"type": "string", "format": "date"}, text, good


def _digits(seed: random.Random) -> tuple[dict[str, Any], Any, bool]:
    text = seed.choice(["12", "12\n", "1a", "٣", "007"])
    return {"type": "string", "pattern": "^\\d+$"}, text, re.fullmatch("[0-9]+", text) is not None


RULES = [_multiple, _letters, _plain, _dates, _digits]


async def judge_schemas() -> list[str]:
    from smc_decode.potentials.text.json_schema import JsonSchema, JsonSchemaOptions
    from smc_decode.workers.pool import default_workers

    seed = random.Random(19)
    made = schemas(seed)
    wrong = []
    for _ in range(COUNT):
        schema, text, meets = next(made)
        try:
            source = JsonSchema(JsonSchemaOptions(schema=schema), default_workers())
            value = (await source.rewards([prefix(text)]))[0].value
        except Exception as error:
            wrong.append(f"{schema} {text!r}: {type(error).__name__}")
            continue
        if (value == 1.0) is not meets:
            wrong.append(f"{schema} {text!r}: {meets}, r = {value}")
    return wrong


FAMILIES = {"sums": judge_sums, "marks": judge_marks, "schemas": judge_schemas}


async def main() -> None:
    for name in sys.argv[1:] or FAMILIES:
        wrong = await FAMILIES[name]()
        print(f"{name}: {len(wrong)} of {COUNT} read otherwise than the referee")
        for line in wrong[:20]:
            print("   ", line)


if __name__ == "__main__":
    asyncio.run(main())
