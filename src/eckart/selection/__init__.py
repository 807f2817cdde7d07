"""Rules that choose the rank of an approximation by what they see of the noise."""

from eckart.selection.choosing import RULES, SEEDED, Choice, all_choices, choose, choose_observed

__all__ = ["RULES", "SEEDED", "Choice", "all_choices", "choose", "choose_observed"]
