"""From a weighted population to the answer: selection rules, and what makes two answers the same."""
