"""Decides what policy statements allow.

Invariant: a kind of statement that is not understood here is an error, so nothing is allowed unnoticed.
"""

import re

UNDERSTOOD = {"Sid", "Effect", "Action", "Resource"}


def allowed(statements, action, resource):
    """Whether the statements allow the action on the resource: some do, and none denies it."""
    effects = {it["Effect"] for it in statements if _applies(it, action, resource)}
    return "Allow" in effects and "Deny" not in effects


def actions(statements):
    """All actions that are allowed on anything, as they are written."""
    return {action for it in statements if it["Effect"] == "Allow" for action in _several(it["Action"])}


def _applies(statement, action, resource):
    assert set(statement) <= UNDERSTOOD, statement
    assert statement["Effect"] in ("Allow", "Deny"), statement
    named = any(_matches(it.lower(), action.lower()) for it in _several(statement["Action"]))
    return named and any(_matches(it, resource) for it in _several(statement["Resource"]))


def _several(value):
    return [value] if isinstance(value, str) else value


def _matches(pattern, text):
    assert "${" not in pattern, f"a policy variable: {pattern}"
    parts = [".*" if it == "*" else "." if it == "?" else re.escape(it) for it in pattern]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
