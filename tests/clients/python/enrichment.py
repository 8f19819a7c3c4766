"""The four tools of the payment enrichment service, which is an MCP server behind the router."""

from __future__ import annotations

from decimal import Decimal

from report import holds, same
from session import Session

CUSTOMER = "C-00042"


async def check_reads(session: Session) -> None:
    async with session.check("enrich__get_merchant answers the merchant that was asked for"):
        merchant = await session.call("enrich__get_merchant", merchant_id="M-0007")
        same(merchant["id"], "M-0007", "the merchant")
        holds(bool(merchant["name"]), "the merchant has no name")
        missing = await session.fails("enrich__get_merchant", merchant_id="M-9999")
        holds("M-9999" in missing, f"the error does not name the merchant: {missing}")

    async with session.check("enrich__get_customer_history is newest first, and its sums are those of the payments"):
        history = await session.call("enrich__get_customer_history", customer_id=CUSTOMER, limit=100)
        payments = history["payments"]
        same(history["customer_id"], CUSTOMER, "the customer")
        same(history["payments_total"], len(payments), "payments_total")
        moments = [payment["at"] for payment in payments]
        same(moments, sorted(moments, reverse=True), "the order of the payments")
        settled = [Decimal(payment["amount"]) for payment in payments if payment["status"] == "settled"]
        same(Decimal(history["spent_total"]), sum(settled, Decimal(0)), "spent_total")
        same(history["declined_total"], len(payments) - len(settled), "declined_total")
        two = await session.call("enrich__get_customer_history", customer_id=CUSTOMER, limit=2)
        same(two["payments"], payments[:2], "the history that is limited to two")

    async with session.check("a payment of the history names the merchant that enrich__get_merchant knows"):
        history = await session.call("enrich__get_customer_history", customer_id=CUSTOMER)
        payment = history["payments"][0]
        merchant = await session.call("enrich__get_merchant", merchant_id=payment["merchant_id"])
        same(merchant["name"], payment["merchant"], "the merchant's name")
        same(merchant["category"], payment["category"], "the merchant's category")

    async with session.check("enrich__check_fraud_patterns scores the patterns that it found"):
        answer = await session.call("enrich__check_fraud_patterns", customer_id=CUSTOMER)
        same(answer["customer_id"], CUSTOMER, "the customer")
        same(answer["score"], min(100, sum(pattern["weight"] for pattern in answer["patterns"])), "the score")
        verdict = "clear" if answer["score"] < 30 else "review" if answer["score"] < 70 else "block"
        same(answer["verdict"], verdict, "the verdict")

    async with session.check("enrich__check_fraud_patterns refuses a transaction of somebody else"):
        other = await session.call("enrich__get_customer_history", customer_id="C-00043", limit=1)
        transaction = other["payments"][0]["transaction_id"]
        problem = await session.fails("enrich__check_fraud_patterns", customer_id=CUSTOMER, transaction_id=transaction)
        holds(transaction in problem, f"the error does not name the transaction: {problem}")


async def check_write(session: Session) -> None:
    async with session.check("enrich__log_transaction_enrichment adds one entry a call"):
        history = await session.call("enrich__get_customer_history", customer_id=CUSTOMER, limit=1)
        transaction = history["payments"][0]["transaction_id"]
        entries = []
        for note in ("looked at by hand", "Zoë's second look: 9007199254740993 \N{EURO SIGN}"):
            answer = await session.call(
                "enrich__log_transaction_enrichment",
                transaction_id=transaction,
                category="groceries",
                labels=["checked", "geprüft"],
                note=note,
            )
            same(answer["transaction_id"], transaction, "the transaction")
            same(answer["customer_id"], CUSTOMER, "the customer")
            entries.append(int(answer["entry"].removeprefix("E-")))
        same(entries[1] - entries[0], 1, "the step from one entry to the next")
