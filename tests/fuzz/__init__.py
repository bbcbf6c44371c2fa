"""Hostile inputs for everything that reads what comes from outside, and for the operators.

Every input is made from a seed, the name of a target and a number, so a finding is repeated by three words. `targets`
say what an input is and what the product does with it, `mutate` changes files on the level of their formats, `worker`
is a process that tries inputs, and `watch` starts workers and sees when one crashes, hangs or swells.
"""
