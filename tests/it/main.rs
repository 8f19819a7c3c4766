mod bridge;
mod bytes;
mod calls;
mod cli;
mod demo;
mod postgres;
mod websocket;
