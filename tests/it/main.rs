mod bridge;
mod postgres;
