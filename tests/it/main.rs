mod bridge;
mod cli;
mod demo;
mod postgres;
