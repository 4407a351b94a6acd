"""The signs, words and LaTeX commands of mathematics, and what each of them is to the tokenizer."""

from __future__ import annotations

FUNCTIONS = frozenset([
    "abs", "arccos", "arcsin", "arctan", "arg", "binom", "cbrt", "ceil", "cos", "cosh", "cot", "csc", "det", "exp",
    "floor", "frac", "gcd", "lcm", "lg", "ln", "log", "max", "min", "root", "sec", "sin", "sinh", "sqrt", "tan",
    "tanh",
])  # fmt: skip
OPERATOR_WORDS = {
    "mod": "mod", "modulo": "mod", "choose": "choose", "plus": "+", "minus": "-", "times": "*", "of": "of", "over":
    "/", "squared": "squared", "cubed": "cubed", "percent": "%",
}  # fmt: skip
SIGNS = {
    "∪": "cup", "∩": "cap", "∅": "empty", "∞": "inf",
    "+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "/": "/",
    "÷": "/", "∕": "/", "⁄": "/", "^": "^", "!": "!", "%": "%", "_": "_", "|": "|", "±": "±", "∓": "±", ",": ",",
    "**": "**", "°": "deg", "º": "deg", "√": "√", "∛": "∛", "'": "'", "′": "'",
}  # fmt: skip
COMMAND_OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "slash": "/", "pm": "±", "mp": "±", "bmod": "mod", "mod":
    "mod", "choose": "choose", "circ": "deg", "degree": "deg", "vert": "|", "lvert": "|", "rvert": "|", "%": "%",
    "_": "_", "prime": "'", "cup": "cup", "cap": "cap", "setminus": "setminus", "over": "over",
}  # fmt: skip
RELATIONS = {
    "=": "=", "＝": "=", "==": "==", "≈": "~", "≃": "~", "≅": "~", "<": "<", ">": ">", "≤": "<=", "≥": ">=", "⩽":
    "<=", "⩾": ">=", "≠": "!=", "∈": "in", "≡": "≡", "→": "to", "⇒": "to", "∼": "sim", ":=": ":=", "=>": "to", "->":
    "to", "<=": "<=", ">=": ">=", "!=": "!=", "≔": ":=", "∝": "sim",
}  # fmt: skip
COMMAND_RELATIONS = {
    "approx": "~", "simeq": "~", "cong": "~", "doteq": "~", "approxeq": "~", "lt": "<", "gt": ">", "le": "<=",
    "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "ne": "!=", "neq": "!=", "equiv": "≡",
    "sim": "sim", "in": "in", "to": "to", "rightarrow": "to", "mapsto": "to", "propto": "sim", "notin": "sim",
    "mid": "mid",
}  # fmt: skip
LAYOUT = frozenset([
    "\n", " ", "!", ",", ":", ";", ">", "Big", "Bigg", "Biggl", "Biggr", "Bigl", "Bigr", "allowbreak", "big",
    "bigg", "biggl", "biggr", "bigl", "bigr", "displaylines", "displaystyle", "enspace", "hfill", "left", "limits",
    "mathstrut", "medspace", "middle", "negthinspace", "nolimits", "nonumber", "notag", "right", "scriptstyle",
    "space", "strut", "textstyle", "thinspace",
])  # fmt: skip
SEPARATORS = frozenset([
    "Leftrightarrow", "Longrightarrow", "Rightarrow", "\\", "and", "because", "hline", "iff", "implies", "land",
    "lor", "newline", "qquad", "quad", "therefore", "vee", "wedge",
])  # fmt: skip
TRANSPARENT = frozenset([
    "bf", "bm", "boldsymbol", "boxed", "cancel", "emph", "ensuremath", "fbox", "hbox", "it", "mathbf", "mathit",
    "mathnormal", "mathop", "mathrm", "mathsf", "mbox", "operatorname", "overbrace", "pmb", "rm", "text", "textbf",
    "textit", "textnormal", "textrm", "textsf", "texttt", "underbrace", "underline",
])  # fmt: skip
WORDY = frozenset([
    "emph", "hbox", "mathop", "mathrm", "mbox", "operatorname", "text", "textbf", "textit", "textnormal", "textrm",
    "textsf", "texttt",
])  # fmt: skip
ARGUMENT_DROPPED = frozenset([
    "color", "hphantom", "hskip", "hspace", "label", "phantom", "tag", "textcolor", "vphantom", "vspace",
])  # fmt: skip
ALSO_UNITS = frozenset([
    "arg", "max", "min", "sec",
])  # fmt: skip
CONSTANTS = {
    "pi": "pi", "π": "pi", "infty": "inf", "∞": "inf", "infinity": "inf",
}  # fmt: skip
CURRENCY = frozenset([
    "$", "¢", "£", "¥", "฿", "₩", "₪", "€", "₹", "₺", "₽",
])  # fmt: skip
SUPERSCRIPTS = {
    "⁰": 0, "¹": 1, "²": 2, "³": 3, "⁴": 4, "⁵": 5, "⁶": 6, "⁷": 7, "⁸": 8, "⁹": 9,
}  # fmt: skip
OPENERS = {
    "(": "(", "[": "[", "{": "{", "⌊": "floor", "⌈": "ceil",
}  # fmt: skip
CLOSERS = {
    ")": "(", "]": "[", "}": "{", "⌋": "floor", "⌉": "ceil",
}  # fmt: skip
COMMAND_OPENERS = {
    "lfloor": "floor", "lceil": "ceil", "{": "set", "lbrace": "set", "lbrack": "[", "langle": "(", "lparen": "(",
}  # fmt: skip
COMMAND_CLOSERS = {
    "rfloor": "floor", "rceil": "ceil", "}": "set", "rbrace": "set", "rbrack": "]", "rangle": "(", "rparen": "(",
}  # fmt: skip
KNOWN_VARIABLES = frozenset([
    "Delta", "Gamma", "Lambda", "Omega", "Phi", "Psi", "Sigma", "Theta", "Xi", "alpha", "beta", "chi", "delta",
    "ell", "epsilon", "eta", "gamma", "hbar", "iota", "kappa", "lambda", "mu", "nu", "omega", "phi", "psi", "rho",
    "sigma", "tau", "theta", "upsilon", "varepsilon", "varphi", "vartheta", "xi", "zeta",
])  # fmt: skip
TWO_LETTER_UNITS = frozenset(["cm", "mm", "km", "kg", "mg", "ml", "ft", "oz", "lb", "hr", "mi"])
