"""The tools of the demo: for each, arguments that work and what has to come back. A new tool is a new line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from report import holds

CUSTOMER = "C-00042"
ACCOUNT = "9007202146917077"
ORDER = "9007199254740993"
# Stand in arguments for a number that no other run of this table has, three digits long, and for a ticket of that run's own.
RUN = "{run}"
TICKET = "{ticket}"
RUN_FIRST = 101
RUN_LAST = 159
# The number of the first new ticket in the project SUP.
TICKET_FIRST = 164


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
        ticket = f"SUP-{TICKET_FIRST + run - RUN_FIRST}"

        def fill(value: Any) -> Any:
            return value.replace(RUN, str(run)).replace(TICKET, ticket) if isinstance(value, str) else value

        return {key: fill(value) for key, value in self.arguments.items()}


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
    Tool("mainframe__get_account", {"account_number": ACCOUNT}, lambda a: a["acct_customer_id"] == CUSTOMER, slow=True),
    Tool("mainframe__account_history", {"account_number": ACCOUNT, "limit": 2}, lambda a: 0 < len(a["records"]) <= 2, slow=True),
    Tool("mainframe__order_status", {"order_id": ORDER}, lambda a: a["order"]["order_id"] == int(ORDER), slow=True),
    Tool("mainframe__batch_job_status", {"job_id": "JOB00001"}, lambda a: a["job"] == FIRST_JOB["job"], slow=True),
    Tool(
        "mainframe__submit_batch_job",
        {"job": "ACCTRPT", "parm": "RUN={run}"},
        lambda a: a["job_id"].startswith("JOB") and a["status"] == "SUBMITTED",
        admin=True,
        slow=True,
    ),
    Tool("tickets__search_tickets", {"text": CUSTOMER, "limit": 3}, lambda a: len(a["tickets"]) <= 3),
    Tool("tickets__get_ticket", {"id": "SUP-1"}, lambda a: a["id"] == "SUP-1" and "comments" in a),
    Tool(
        "tickets__create_ticket",
        {"title": "Zoë, run {run}", "description": "Seen:\n\n- page 1\n- 9007199254740993 €"},
        lambda a: a["id"].startswith("SUP-") and a["title"].startswith("Zoë, run ") and a["status_category"] == "open",
    ),
    Tool("tickets__add_comment", {"id": "SUP-2", "text": "Run {run}"}, lambda a: a["comment"]["text"].startswith("Run ")),
    Tool(
        "tickets__update_ticket_status",
        {"id": "{ticket}", "status": "in progress"},
        lambda a: a["id"].startswith("SUP-") and a["status_category"] == "in_progress",
        admin=True,
    ),
]
# Weir's own: what it says depends on what its caller wrote before.
OWN = {"weir__operation_status"}
# What an admin does before anything else, so that there is a batch job to ask for, and for every run a ticket to move.
FIRST_JOB = {"job": "FIRST"}
PREPARATION: list[tuple[str, dict[str, Any]]] = [
    ("mainframe__submit_batch_job", FIRST_JOB),
    *[("tickets__create_ticket", {"title": "To be moved"})] * (RUN_LAST - RUN_FIRST + 1),
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
    wanted = {tool.name for tool in of_role(role)} | OWN
    holds(len(names) == len(set(names)), "a tool is listed twice")
    unknown = set(names) - {tool.name for tool in TOOLS} - OWN
    holds(not unknown, f"tests/clients/python/tools.py has no line for {', '.join(sorted(unknown))}")
    holds(set(names) == wanted, f"listed, but not for {role}: {sorted(set(names) - wanted)}; missing: {sorted(wanted - set(names))}")
