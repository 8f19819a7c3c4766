CREATE TABLE customers (
    id              text PRIMARY KEY,
    account_number  bigint NOT NULL UNIQUE,
    public_id       uuid NOT NULL UNIQUE,
    name            text NOT NULL,
    email           text NOT NULL UNIQUE,
    phone           text NOT NULL,
    status          text NOT NULL CHECK (status IN ('active', 'suspended', 'closed')),
    segment         text NOT NULL CHECK (segment IN ('consumer', 'business', 'enterprise')),
    country         text NOT NULL CHECK (length(country) = 2),
    city            text NOT NULL,
    created_at      timestamptz NOT NULL,
    last_seen_at    timestamptz,
    credit_limit    numeric(14, 2) NOT NULL,
    loyalty_points  integer NOT NULL,
    risk_score      double precision NOT NULL,
    newsletter      boolean NOT NULL,
    tags            text[] NOT NULL,
    profile         jsonb NOT NULL,
    avatar_hash     bytea NOT NULL
);

CREATE TABLE orders (
    id           bigint PRIMARY KEY,
    customer_id  text NOT NULL REFERENCES customers ON DELETE CASCADE,
    placed_at    timestamptz NOT NULL,
    status       text NOT NULL CHECK (status IN ('pending', 'shipped', 'delivered', 'cancelled')),
    channel      text NOT NULL CHECK (channel IN ('web', 'phone', 'store')),
    currency     text NOT NULL,
    total        numeric(14, 2) NOT NULL,
    items        jsonb NOT NULL
);

CREATE TABLE invoices (
    id           text PRIMARY KEY,
    order_id     bigint NOT NULL UNIQUE REFERENCES orders ON DELETE CASCADE,
    customer_id  text NOT NULL REFERENCES customers ON DELETE CASCADE,
    amount       numeric(14, 2) NOT NULL,
    currency     text NOT NULL,
    status       text NOT NULL CHECK (status IN ('paid', 'open', 'overdue')),
    issued_on    date NOT NULL,
    due_date     date NOT NULL,
    paid_at      timestamptz,
    reminded_at  timestamptz
);
