CREATE INDEX ON orders (customer_id, placed_at);
CREATE INDEX ON invoices (customer_id);
CREATE INDEX ON invoices (status, due_date);
ANALYZE customers, orders, invoices;
