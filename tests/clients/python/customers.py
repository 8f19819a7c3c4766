"""The tools of the customer database, which is a Postgres behind the router."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from report import holds, same
from session import Session

CUSTOMER = "C-00042"
PAGE_MAX = 100


def amounts(rows: list[dict[str, Any]], column: str) -> list[Decimal]:
    return [Decimal(str(row[column])) for row in rows]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


async def customer(session: Session, customer_id: str) -> dict[str, Any]:
    rows = await session.rows("crm__get_customer", customer_id=customer_id)
    same(ids(rows), [customer_id], "the customers found")
    return rows[0]


async def check_reads(session: Session) -> None:
    async with session.check("crm__get_customer answers the customer that was asked for, every type as it should be"):
        found = await customer(session, CUSTOMER)
        holds(found["account_number"].isdecimal(), f"account_number is {found['account_number']!r}, not digits")
        holds(type(found["newsletter"]) is bool, f"newsletter is {found['newsletter']!r}, not a boolean")
        holds(type(found["tags"]) is list and type(found["profile"]) is dict, "tags or profile are not JSON")
        holds("T" in found["created_at"], f"created_at is {found['created_at']!r}, not a moment")

    async with session.check("crm__get_customer answers no row for an id that nobody has"):
        same(await session.rows("crm__get_customer", customer_id="C-99999"), [], "the rows")

    async with session.check("crm__list_customers goes on where the last page ended"):
        page = await session.rows("crm__list_customers", limit=7)
        same(len(page), 7, "the length of the page")
        following = await session.rows("crm__list_customers", limit=7, after_id=page[-1]["id"])
        both = await session.rows("crm__list_customers", limit=14)
        same(ids(page) + ids(following), ids(both), "the ids of two pages")
        same(ids(both), sorted(set(ids(both))), "the order of the ids")

    async with session.check("crm__list_customers keeps to every filter"):
        wanted = {"country": "DE", "status": "active", "segment": "consumer"}
        rows = await session.rows("crm__list_customers", limit=PAGE_MAX, **wanted)
        holds(bool(rows), "nobody was found")
        for column, value in wanted.items():
            same({row[column] for row in rows}, {value}, column)
        rows = await session.rows("crm__list_customers", limit=PAGE_MAX, name="ÖBERG")
        holds(bool(rows), "nobody of that name was found")
        holds(all("öberg" in row["name"].casefold() for row in rows), "a name without the text was found")

    async with session.check("crm__top_customers ranks by revenue in one currency"):
        top = await session.rows("crm__top_customers", limit=10, currency="EUR")
        same(len(top), 10, "the number of customers")
        same(amounts(top, "revenue"), sorted(amounts(top, "revenue"), reverse=True), "the order of the revenues")
        same(top[0]["rank"], 1, "the first rank")
        same({row["currency"] for row in top}, {"EUR"}, "the currencies")
        same(await session.rows("crm__top_customers", limit=3, currency="EUR"), top[:3], "the first three")
        best = await customer(session, top[0]["id"])
        same((best["name"], best["country"]), (top[0]["name"], top[0]["country"]), "the first customer")

    async with session.check("crm__overdue_invoices lists the oldest first, and one customer's alone"):
        invoices = await session.rows("crm__overdue_invoices", limit=50)
        due = [(row["due_date"], row["id"]) for row in invoices]
        same(due, sorted(due), "the order of the invoices")
        debtor = invoices[0]["customer_id"]
        same((await customer(session, debtor))["email"], invoices[0]["email"], "the e-mail of the customer")
        theirs = await session.rows("crm__overdue_invoices", limit=PAGE_MAX, customer_id=debtor)
        same({row["customer_id"] for row in theirs}, {debtor}, "the customers")
        holds(invoices[0] in theirs, "the oldest invoice is not among the customer's own")

    async with session.check("an argument outside its schema is an error that names it"):
        problem = await session.fails("crm__list_customers", limit=PAGE_MAX + 1)
        holds("limit" in problem, f"the error does not name the argument: {problem}")
        problem = await session.fails("crm__get_customer")
        holds("customer_id" in problem, f"the error does not name the argument: {problem}")


async def check_writes(session: Session, number: int) -> None:
    """The writes of one way to connect, on customers of its own: those at that place of their lists."""
    async with session.check("crm__update_customer changes what it is given, and a read shows it"):
        [chosen] = await session.rows("crm__list_customers", after_id=f"C-{500 + number:05}", limit=1)
        before = await customer(session, chosen["id"])
        change = {"phone": f"+46 8 465 004 {number:02}", "newsletter": not before["newsletter"], "status": "suspended"}
        [updated] = await session.rows_written("crm__update_customer", customer_id=chosen["id"], **change)
        same({key: updated[key] for key in ("id", *change)}, {"id": chosen["id"]} | change, "the updated customer")
        same(await customer(session, chosen["id"]), before | change, "the customer that is read back")

    async with session.check("crm__update_customer of nobody writes nothing"):
        same(await session.rows_written("crm__update_customer", customer_id="C-99999", status="closed"), [], "the rows")

    async with session.check("crm__export_customers answers all customers, each as crm__get_customer has it"):
        exported = await session.rows("crm__export_customers")
        listed: list[str] = []
        while page := await session.rows("crm__list_customers", limit=PAGE_MAX, after_id=listed[-1] if listed else ""):
            listed += ids(page)
        same(ids(exported), listed, "the exported ids")
        holds(any(int(row["account_number"]) > 2**53 for row in exported), "no account number is beyond what a double holds")
        row = next(row for row in exported if row["id"] == CUSTOMER)
        found = await customer(session, CUSTOMER)
        same({key: found[key] for key in row if key in found}, {key: row[key] for key in row if key in found}, CUSTOMER)
        swedes = await session.rows("crm__export_customers", country="SE")
        same(swedes, [row for row in exported if row["country"] == "SE"], "the export of one country")

    async with session.check("crm__delete_customer deletes one customer, who is gone from every list"):
        currency = ("AUD", "CAD", "GBP", "SEK")[number]
        top = await session.rows("crm__top_customers", limit=2, currency=currency)
        gone = top[0]["id"]
        exported = await session.rows("crm__export_customers")
        same(ids(await session.rows_written("crm__delete_customer", customer_id=gone)), [gone], "the deleted customers")
        same(await session.rows("crm__get_customer", customer_id=gone), [], "the customer that is read back")
        same(await session.rows("crm__overdue_invoices", customer_id=gone), [], "the customer's invoices")
        [now_first] = await session.rows("crm__top_customers", limit=1, currency=currency)
        same((now_first["rank"], now_first["id"]), (1, top[1]["id"]), "who is first now")
        left = [row for row in exported if row["id"] != gone]
        same(await session.rows("crm__export_customers"), left, "the customers that are left")
        same(await session.rows_written("crm__delete_customer", customer_id=gone), [], "the rows of a second delete")
