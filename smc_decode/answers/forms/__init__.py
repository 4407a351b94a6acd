"""The form of a final answer: a value, a list or set, a tuple, an interval, a union, a matrix, an equation, words."""

from smc_decode.answers.forms.form import Form
from smc_decode.answers.forms.reading import read_form

__all__ = ["Form", "read_form"]
