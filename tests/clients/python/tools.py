"""The tools of the demo: for each, arguments that work and what has to come back. A new tool is a new line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from report import holds

CUSTOMER = "C-00042"
# Stands in arguments for a number that no other run of this table has, three digits long.
RUN = "{run}"
RUN_FIRST = 301
RUN_LAST = 899


@dataclass(frozen=True)
class Tool:
    """A tool, arguments that work, and whether its answer is right."""

    name: str
    arguments: dict[str, Any]
    is_right: Callable[[Any], bool]
    # Only an admin may use it.
    admin: bool = False
    # It takes seconds.
    slow: bool = False

    def filled(self, run: int) -> dict[str, Any]:
        """The arguments of one run."""
        return {key: value.replace(RUN, str(run)) if isinstance(value, str) else value for key, value in self.arguments.items()}


TOOLS = [
    Tool("crm__get_customer", {"customer_id": CUSTOMER}, lambda a: [row["id"] for row in a["rows"]] == [CUSTOMER]),
    Tool("crm__list_customers", {"limit": 7, "country": "DE"}, lambda a: [row["country"] for row in a["rows"]] == ["DE"] * 7),
    Tool("crm__top_customers", {"limit": 3, "currency": "EUR"}, lambda a: [row["rank"] for row in a["rows"]] == [1, 2, 3]),
    Tool("crm__overdue_invoices", {"limit": 5}, lambda a: a["row_count"] == 5 and not a["truncated"]),
    Tool("crm__export_customers", {"country": "SE"}, lambda a: {row["country"] for row in a["rows"]} == {"SE"}, admin=True),
    Tool("crm__update_customer", {"customer_id": "C-00{run}", "phone": "+1 555 0{run}"}, lambda a: a["rows_affected"] == 1, admin=True),
    Tool("crm__delete_customer", {"customer_id": "C-01{run}"}, lambda a: a["rows_affected"] == 1, admin=True),
    Tool("enrich__get_merchant", {"merchant_id": "M-0007"}, lambda a: a["id"] == "M-0007" and bool(a["name"])),
    Tool("enrich__get_customer_history", {"customer_id": CUSTOMER, "limit": 2}, lambda a: len(a["payments"]) == 2),
    Tool("enrich__check_fraud_patterns", {"customer_id": CUSTOMER}, lambda a: a["verdict"] in ("clear", "review", "block")),
    Tool(
        "enrich__log_transaction_enrichment",
        {"transaction_id": "T-0000042", "category": "groceries", "note": "Zoë, run {run}: 9007199254740993 €"},
        lambda a: a["entry"].startswith("E-"),
        admin=True,
    ),
]
UNKNOWN = "crm__no_such_tool"


@dataclass(frozen=True)
class Wrong:
    """Arguments that do not fit, and what the answer has to name so that a model can mend them."""

    tool: str = "crm__list_customers"
    arguments: dict[str, Any] = field(default_factory=lambda: {"limit": 101})
    named: tuple[str, ...] = ("arguments/limit", "maximum of 100")


WRONG = Wrong()


def of_role(role: str) -> list[Tool]:
    """What a role of the demo may use."""
    return [tool for tool in TOOLS if role == "admin" or not tool.admin]


def check_list(names: list[str], role: str) -> None:
    """Holds a list against the table, in both directions."""
    wanted = {tool.name for tool in of_role(role)}
    holds(len(names) == len(set(names)), "a tool is listed twice")
    unknown = set(names) - {tool.name for tool in TOOLS}
    holds(not unknown, f"tests/clients/python/tools.py has no line for {', '.join(sorted(unknown))}")
    holds(set(names) == wanted, f"listed, but not for {role}: {sorted(set(names) - wanted)}; missing: {sorted(wanted - set(names))}")
